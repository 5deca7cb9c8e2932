"""The camera: Euler pose from model space into camera space, and perspective projection into pixels.

Model space: mm, x to image right, y up, z out of the face. Camera space: x right, y down, z forward.
The authors' released camera, the same as Deep3D's.
"""

import torch
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from focus_ray.numerics.float32 import full_precision_matmul
from focus_ray.settings import Settings

REFERENCE_SIZE = 224

# Least depth that `project` divides by, so that values and gradients are finite near the camera plane. No rasterizer
# draws such points: triangles that reach behind the camera are ignored.
NEAREST_MM = 1e-3


class Camera(Settings):
    """A pinhole camera for square images; pixel centres at integers, origin top-left."""

    image_size: PositiveInt = REFERENCE_SIZE
    # 9.06 * 224 / 2 px: a field of view of 12.6 degrees.
    focal_at_224: PositiveFloat = 1014.72
    distance_mm: PositiveFloat = 1000.0

    @property
    def focal(self) -> float:
        """Focal length in px of an image of `image_size`."""
        return self.focal_at_224 * self.image_size / REFERENCE_SIZE

    @property
    def centre(self) -> float:
        """Principal point in px, the same in u and v."""
        return (self.image_size - 1) / 2


def euler_to_rotation(angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Compute R = diag(1, -1, -1) Rx(r1) Ry(r2) Rz(r3).

    Args:
        angles: Euler angles (r1, r2, r3), rad; zero angles look at the face from the front.

    Returns:
        Rotations from model space to the axes of the camera.
    """
    c1, c2, c3 = angles.cos().unbind(1)
    s1, s2, s3 = angles.sin().unbind(1)
    rows = (
        (c2 * c3, -c2 * s3, s2),
        (-c1 * s3 - s1 * s2 * c3, -c1 * c3 + s1 * s2 * s3, s1 * c2),
        (-s1 * s3 + c1 * s2 * c3, -s1 * c3 - c1 * s2 * s3, -c1 * c2),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def rotate(points: Float[Tensor, "B N 3"], angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B N 3"]:
    """Rotate points from model space to the axes of the camera: R X.

    Written as sums of products, which have the same bits on every CPU; a product of matrices has not.

    Args:
        points: model space, mm.
        angles: Euler angles, rad.

    Returns:
        Rotated points, not yet translated, mm.
    """
    x, y, z = points.split(1, dim=2)
    columns = euler_to_rotation(angles)[:, None]
    return x * columns[..., 0] + y * columns[..., 1] + z * columns[..., 2]


def translate(
    camera: Camera, rotated: Float[Tensor, "B N 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 3"]:
    """Translate rotated points into camera space: X + T with T = (t1, t2, t3) + (0, 0, distance).

    Args:
        camera: camera that defines the distance.
        rotated: points in the axes of the camera, mm.
        translation: (t1, t2, t3), mm.

    Returns:
        Points in camera space, mm.
    """
    return rotated + (translation + translation.new_tensor((0.0, 0.0, camera.distance_mm)))[:, None]


def to_camera(
    camera: Camera,
    vertices: Float[Tensor, "B N 3"],
    rotation: Float[Tensor, "B 3"],
    translation: Float[Tensor, "B 3"],
) -> Float[Tensor, "B N 3"]:
    """Transform model space to camera space: R X + T.

    Args:
        camera: camera that defines the distance.
        vertices: model space, mm.
        rotation: Euler angles, rad.
        translation: (t1, t2, t3), mm.

    Returns:
        Points in camera space, mm.
    """
    return translate(camera, rotate(vertices, rotation), translation)


def project(camera: Camera, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Project camera space to the image plane.

    Args:
        camera: pinhole camera of the image.
        points: camera space, mm.

    Returns:
        (u px, v px, z mm); pixel centres at integers, origin top-left.
    """
    depth = points[..., 2:]
    away = depth.abs() < NEAREST_MM
    divisor = torch.where(away, torch.full_like(depth, NEAREST_MM), depth)
    pixels = points[..., :2] * (camera.focal / divisor) + camera.centre
    return torch.cat((pixels, depth), dim=-1)


def projection_matrix(
    camera: Camera, rotation: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B 3 4"]:
    """Compute P = K [R | T] with (u w, v w, w) = P (x, y, z, 1).

    Args:
        camera: pinhole camera of the image.
        rotation: Euler angles, rad.
        translation: (t1, t2, t3), mm.

    Returns:
        Matrices from model space in mm to (u, v) in px and depth w in mm.
    """
    intrinsic = translation.new_tensor(
        ((camera.focal, 0.0, camera.centre), (0.0, camera.focal, camera.centre), (0.0, 0.0, 1.0))
    )
    offset = translate(camera, torch.zeros_like(translation)[:, None], translation).transpose(1, 2)
    return full_precision_matmul(intrinsic, torch.cat((euler_to_rotation(rotation), offset), dim=2))
