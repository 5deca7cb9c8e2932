"""Landmarks and pose of a picture in a .mat file of AFLW2000-3D or 300W-LP (MATLAB, version 5).

Read are `pt3d_68` of AFLW2000-3D (3 x 68: x, y, z; px, y down) or `pt2d` of 300W-LP (2 x 68), and `Pose_Para` (1 x 7:
pitch, yaw and roll in rad, translation, scale). The authors plot x and y over the picture in MATLAB, where the centre
of the first pixel is (1, 1).
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.io import loadmat, whosmat

from focus_ray.data.landmark_csv import POINTS
from focus_ray.errors import DataError, LandmarkError, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes

LANDMARKS, FLAT_LANDMARKS, POSE = "pt3d_68", "pt2d", "Pose_Para"

_MEGABYTES = 1.0  # a file of AFLW2000-3D has some kB; compressed content is at most 1000 times larger
_SHAPES = {LANDMARKS: (3, POINTS), FLAT_LANDMARKS: (2, POINTS), POSE: (1, 7)}
_YAW = 1  # column of POSE
_FIRST_PIXEL = 1.0


def read_mat(path: Path) -> tuple[Float[np.ndarray, "68 2"], float | None]:
    """Read the 68 landmarks and the yaw of a .mat file.

    The shapes in the header are checked before the values are read. Nothing is unpickled or executed.

    Args:
        path: path of the file.

    Returns:
        (landmarks, yaw): px with the centre of the first pixel at 0; degrees, None if the file has no pose.

    Raises:
        LandmarkError: the file is missing, damaged or too large, or has neither `pt3d_68` of 3 x 68
            nor `pt2d` of 2 x 68 finite numbers.
    """
    try:
        content = read_limited_bytes(path, _MEGABYTES)
        shapes = {name: shape for name, shape, _ in whosmat(io.BytesIO(content))}
        wanted = [name for name, shape in _SHAPES.items() if shapes.get(name) == shape]
        values = loadmat(io.BytesIO(content), variable_names=wanted)
    except DataError as error:
        raise LandmarkError(str(error)) from None
    except Exception as error:  # scipy's parser raises errors of any type on a damaged file
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise LandmarkError(
            f"{path}: the file cannot be read as MATLAB's version 5 ({reason}); get a complete copy"
        ) from None
    points, pose = _to_numbers(values.get(LANDMARKS)), _to_numbers(values.get(POSE))
    points = _to_numbers(values.get(FLAT_LANDMARKS)) if points is None else points
    if points is None:
        raise LandmarkError(f"{path}: there is no {LANDMARKS} of 3 x {POINTS} finite numbers; give AFLW2000-3D's files")
    return points[:2].T - _FIRST_PIXEL, None if pose is None else float(np.degrees(pose[0, _YAW]))


def _to_numbers(values: Any) -> Float[np.ndarray, "R C"] | None:
    """Convert a variable to float64; None if it is absent or not finite numbers."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        return None
    return values.astype(np.float64)
