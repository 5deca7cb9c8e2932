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

# Points nearer than this to the camera plane are projected as if they lay here: finite numbers and gradients for
# points that no rasterizer draws (it ignores triangles that reach behind the camera).
_NEAREST_MM = 1e-3


class Camera(Settings):
    """A pinhole camera for square images; pixel centres at integers, origin top-left."""

    image_size: PositiveInt = REFERENCE_SIZE
    # 9.06 * 224 / 2 px: a field of view of 12.6 degrees.
    focal_at_224: PositiveFloat = 1014.72
    distance_mm: PositiveFloat = 1000.0

    @property
    def focal(self) -> float:
        """Focal length in px of this image size."""
        return self.focal_at_224 * self.image_size / REFERENCE_SIZE

    @property
    def centre(self) -> float:
        """Principal point in px, the same in u and v."""
        return (self.image_size - 1) / 2


def euler_to_rotation(angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """R = diag(1, -1, -1) Rx(r1) Ry(r2) Rz(r3), angles in rad; zero angles look at the face from the front."""
    c1, c2, c3 = angles.cos().unbind(1)
    s1, s2, s3 = angles.sin().unbind(1)
    rows = (
        (c2 * c3, -c2 * s3, s2),
        (-c1 * s3 - s1 * s2 * c3, -c1 * c3 + s1 * s2 * s3, s1 * c2),
        (-s1 * s3 + c1 * s2 * c3, -s1 * c3 - c1 * s2 * s3, -c1 * c2),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def rotate(points: Float[Tensor, "B N 3"], angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B N 3"]:
    """R X: model space turned into the camera's axes, not yet moved."""
    return full_precision_matmul(points, euler_to_rotation(angles).transpose(1, 2))


def translate(
    camera: Camera, rotated: Float[Tensor, "B N 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 3"]:
    """X + T with T = (t1, t2, t3) + (0, 0, distance), mm."""
    return rotated + (translation + translation.new_tensor((0.0, 0.0, camera.distance_mm)))[:, None]


def to_camera(
    camera: Camera,
    vertices: Float[Tensor, "B N 3"],
    rotation: Float[Tensor, "B 3"],
    translation: Float[Tensor, "B 3"],
) -> Float[Tensor, "B N 3"]:
    """R X + T: model space to camera space, mm. rotation are the three Euler angles in rad."""
    return translate(camera, rotate(vertices, rotation), translation)


def project(camera: Camera, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Camera space (mm) to (u px, v px, z mm)."""
    depth = points[..., 2:]
    away = depth.abs() < _NEAREST_MM
    divisor = torch.where(away, torch.full_like(depth, _NEAREST_MM), depth)
    pixels = points[..., :2] * (camera.focal / divisor) + camera.centre
    return torch.cat((pixels, depth), dim=-1)


def projection_matrix(
    camera: Camera, rotation: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B 3 4"]:
    """P = K [R | T]: (u w, v w, w) = P (x, y, z, 1) takes model space [mm] to px (u, v) and depth w [mm].

    rotation are the three Euler angles in rad, translation is in mm.
    """
    intrinsic = translation.new_tensor(
        ((camera.focal, 0.0, camera.centre), (0.0, camera.focal, camera.centre), (0.0, 0.0, 1.0))
    )
    offset = translate(camera, torch.zeros_like(translation)[:, None], translation).transpose(1, 2)
    return full_precision_matmul(intrinsic, torch.cat((euler_to_rotation(rotation), offset), dim=2))
