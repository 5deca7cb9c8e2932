"""Rotation of a pose about the optical axis, and conversion of rotations to Euler angles."""

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.camera import euler_to_rotation
from focus_ray.numerics.float32 import full_precision_matmul


def rotation_to_euler(rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """Compute the angles of R = diag(1, -1, -1) Rx(r1) Ry(r2) Rz(r3); the inverse of euler_to_rotation.

    Args:
        rotation: R, from model space to the axes of the camera.

    Returns:
        (r1, r2, r3), rad, |r2| <= pi / 2. At r2 = +-pi / 2 only r1 + r3 or r1 - r3 is determined; r1 is then 0.
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
    """Compute the pose after a rotation of the image about the principal point.

    Args:
        rotation: Euler angles of focus.camera, rad.
        translation: of focus.camera, mm.
        angle: rotation of the image, rad, clockwise as seen.

    Returns:
        (rotation, translation) in the same units.
    """
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    moved = full_precision_matmul(turn, translation[..., None])[..., 0]
    return rotation_to_euler(full_precision_matmul(turn, euler_to_rotation(rotation))), moved
