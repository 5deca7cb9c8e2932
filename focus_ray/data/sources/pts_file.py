"""Landmarks of a picture in a .pts file, as 300-W has them: `version: 1`, `n_points: 68`, and the points in braces."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from focus_ray.data.landmark_csv import POINTS
from focus_ray.errors import DataError, LandmarkError, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes

_MEGABYTES = 1.0  # 68 points take 2 kB
_POINTS_IN_BRACES = re.compile(r"\{([^{}]*)\}")
_FIRST_PIXEL = 1.0  # as in MATLAB, the centre of the first pixel is (1, 1)


def read_pts(path: Path) -> Float[np.ndarray, "68 2"]:
    """Read the 68 landmarks of a .pts file.

    Args:
        path: path of the file.

    Returns:
        Landmarks, px, with the centre of the first pixel at 0; in the file it is at 1.

    Raises:
        LandmarkError: the file is missing, damaged or too large, or does not hold 68 points of finite numbers.
    """
    try:
        text = read_limited_bytes(path, _MEGABYTES).decode("utf-8-sig")
        found = _POINTS_IN_BRACES.search(text)
        if found is None:
            raise ValueError("there are no points in braces")
        points = np.array([[float(number) for number in line.split()] for line in found[1].strip().splitlines()])
    except DataError as error:
        raise LandmarkError(str(error)) from None
    except ValueError as error:
        raise LandmarkError(f"{path}: the points cannot be read ({printable(error)}); write the file again") from None
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise LandmarkError(f"{path}: the file does not hold {POINTS} points of two finite numbers; give iBUG's points")
    return points - _FIRST_PIXEL
