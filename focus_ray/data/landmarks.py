"""Landmarks that somebody gives: whether they can be those of a face in their picture."""

import numpy as np
from jaxtyping import Float

from focus_ray.errors import LandmarkError


def checked_landmarks(landmarks: object, height: int, width: int) -> Float[np.ndarray, "68 2"]:
    """68 given points as an array [px of a picture of that size].

    Raises LandmarkError for anything but 68 pairs of finite numbers, for points whose bounding box has no area, and for
    points beside the picture.
    """
    points = finite_numbers(landmarks)
    if points is None or points.shape != (68, 2):
        raise LandmarkError("the landmarks are not 68 pairs of finite numbers; give an array [68, 2] of x, y in px")
    low, high = points.min(axis=0), points.max(axis=0)
    if not (high > low).all():
        raise LandmarkError("the landmarks lie on one point or line; correct them")
    # Pixel centres stand at integers: the picture begins half a pixel before 0.
    if (high < -0.5).any() or (low > np.array([width, height]) - 0.5).any():
        raise LandmarkError(f"the landmarks lie outside of the picture of {width} x {height} px; correct them")
    return points


def finite_numbers(values: object) -> Float[np.ndarray, "..."] | None:
    """An array or nested sequences as float64; None where they hold anything but finite numbers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of another device or with a gradient
        return None
    if array.dtype.kind not in "fiu":
        return None
    numbers = array.astype(np.float64)
    return numbers if np.isfinite(numbers).all() else None
