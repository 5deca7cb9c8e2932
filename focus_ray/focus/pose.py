"""Turning a pose about the optical axis, and Euler angles back from a rotation."""

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.camera import euler_to_rotation
from focus_ray.numerics.float32 import full_precision_matmul


def rotation_to_euler(rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """The three angles [rad] of R = diag(1, -1, -1) Rx(r1) Ry(r2) Rz(r3), |r2| <= pi / 2; inverse of euler_to_rotation.

    Where r2 is +-pi / 2 only r1 + r3 or r1 - r3 is determined; r1 is then 0.
    """
    turned = rotation * rotation.new_tensor((1.0, -1.0, -1.0))[:, None]
    sine = turned[:, 0, 2].clamp(-1.0, 1.0)
    locked = sine.abs() > 1.0 - torch.finfo(rotation.dtype).eps
    first = torch.where(locked, torch.zeros_like(sine), torch.atan2(-turned[:, 1, 2], turned[:, 2, 2]))
    third = torch.where(
        locked, torch.atan2(turned[:, 1, 0], turned[:, 1, 1]), torch.atan2(-turned[:, 0, 1], turned[:, 0, 0])
    )
    return torch.stack([first, torch.asin(sine), third], dim=1)


def rotate_in_plane(
    rotation: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"], angle: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
    """The pose after the picture was turned by an angle [rad, clockwise as seen] about the principal point.

    Rotation are Euler angles [rad], translation is in mm, both of focus.camera.
    """
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    moved = full_precision_matmul(turn, translation[..., None])[..., 0]
    return rotation_to_euler(full_precision_matmul(turn, euler_to_rotation(rotation))), moved
