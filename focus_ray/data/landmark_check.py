"""Plausibility check of given landmarks.

Besides numbers and positions the shape is checked: the mean face, under the best-fitting weak-perspective camera, must
lie near the points. Points in another order or scaled along one axis have a large residual; those of a mirrored picture
or with y upwards fit only a face seen from behind.
"""

import math

import numpy as np
from jaxtyping import Float

from focus_ray.errors import LandmarkError

MEAN_LANDMARKS = np.array(
    """
    -71 25 -35,  -70 6 -31,  -67 -12 -26,  -63 -31 -24,  -56 -50 -19,  -45 -65 -6,  -32 -76 6,  -16 -83 15,
    0 -84 21,  16 -83 15,  32 -76 6,  45 -65 -6,  56 -50 -19,  63 -31 -24,  67 -12 -26,  70 6 -31,  71 25 -35,
    -55 43 5,  -45 48 19,  -34 49 28,  -22 47 32,  -13 44 33,  13 44 33,  22 47 32,  34 49 28,  45 48 19,
    55 43 5,  0 31 32,  0 19 38,  0 7 46,  0 -5 55,  -13 -16 42,  -7 -18 38,  0 -19 41,  7 -18 38,  13 -16 42,
    -46 30 13,  -36 35 18,  -26 34 18,  -16 28 17,  -26 25 18,  -36 25 18,  16 28 17,  26 34 18,  36 35 18,
    46 30 13,  36 25 18,  26 25 18,  -25 -38 24,  -15 -33 36,  -6 -31 39,  0 -33 40,  6 -31 39,  15 -33 36,
    25 -38 24,  15 -44 34,  7 -47 34,  0 -48 34,  -7 -47 34,  -15 -44 34,  -22 -38 27,  -8 -38 35,  0 -38 36,
    8 -38 35,  22 -38 27,  8 -38 35,  0 -38 36,  -8 -38 35
    """.replace(",", " ").split(),
    dtype=np.float64,
).reshape(68, 3)
"""The 68 iBUG points of the parametric face's mean [mm], x to its left, y up, z to the viewer."""

_MIN_FACE_PX = 8.0  # smallest longer side of the bounding box
# As a share of the points' spread. The largest residual is 0.13 over 585 annotated photographs and 0.15 over synthetic
# faces; points with one axis halved begin at 0.26, points in a random order at 0.94.
_MAX_RESIDUAL = 0.25


def validate_landmarks(
    landmarks: object, height: int, width: int, least_facing: float = 0.0
) -> Float[np.ndarray, "68 2"]:
    """Check 68 given landmarks and convert them to an array.

    Args:
        landmarks: array or nested sequences, px of the picture.
        height: height of the picture, px.
        width: width of the picture, px.
        least_facing: smallest cosine of the angle between the face and the viewer that is accepted.

    Returns:
        The landmarks as float64, px of the picture.

    Raises:
        LandmarkError: the landmarks are not 68 pairs of finite numbers, have a bounding box without area or below 8 px,
            lie outside the picture, or do not have the shape of a face in iBUG order, x to the right and y down.
    """
    points = to_finite_array(landmarks)
    if points is None or points.shape != (68, 2):
        raise LandmarkError("the landmarks are not 68 pairs of finite numbers; give an array [68, 2] of x, y in px")
    low, high = points.min(axis=0), points.max(axis=0)
    if not (high > low).all():
        raise LandmarkError("the landmarks lie on one point or line; correct them")
    if (high - low).max() < _MIN_FACE_PX:
        raise LandmarkError(
            f"the landmarks span {high[0] - low[0]:.2g} x {high[1] - low[1]:.2g} px, less than the "
            f"minimum of {_MIN_FACE_PX:g} px; give px of the picture, not fractions of its size"
        )
    # Pixel centres are at integers: the picture begins at -0.5.
    if (high < -0.5).any() or (low > np.array([width, height]) - 0.5).any():
        raise LandmarkError(f"the landmarks lie outside the picture of {width} x {height} px; correct them")
    _check_shape(points, least_facing)
    return points


def _check_shape(points: Float[np.ndarray, "68 2"], least_facing: float) -> None:
    facing, residual = fit_mean_face(points)
    if residual > _MAX_RESIDUAL:
        raise LandmarkError(
            "the landmarks do not have the shape of a face; give the 68 points in iBUG's order, x and y in px"
        )
    if facing < least_facing:
        raise LandmarkError(
            "the landmarks are those of a mirrored face; give x to the right and y down, from the picture's top left "
            "corner, the subject's right side first"
        )


def fit_mean_face(points: Float[np.ndarray, "68 2"]) -> tuple[float, float]:
    """Fit the weak-perspective camera that projects MEAN_LANDMARKS nearest to the points.

    Args:
        points: landmarks, px, iBUG order.

    Returns:
        (facing, residual): facing is 1 for a face that looks straight at the viewer and negative for one seen from
        behind; residual is the root mean square residual as a share of the points' spread.
    """
    rotation, residual = _fit_rotation(points)
    return float(rotation[2, 2]), residual


def estimate_yaw(points: Float[np.ndarray, "68 2"]) -> float:
    """Estimate the yaw of a face by the weak-perspective camera that projects MEAN_LANDMARKS nearest to the points.

    The angles are those of R = R_z(roll) R_x(pitch) R_y(yaw): rotating the picture does not change the yaw.

    Args:
        points: landmarks, px, iBUG order.

    Returns:
        Yaw, degrees in [-180, 180]; positive if the face looks to the right of the picture.
    """
    rotation, _ = _fit_rotation(points)
    return math.degrees(math.atan2(-rotation[2, 0], rotation[2, 2]))


def _fit_rotation(points: Float[np.ndarray, "68 2"]) -> tuple[Float[np.ndarray, "3 3"], float]:
    """Fit rotation (x right, y down, z to the viewer) and residual, by POS made orthogonal."""
    mean, seen = MEAN_LANDMARKS * [1.0, -1.0, 1.0], points - points.mean(axis=0)  # y down, as in the picture
    mean = mean - mean.mean(axis=0)
    left, scales, right = np.linalg.svd(np.linalg.lstsq(mean, seen, rcond=None)[0].T, full_matrices=False)
    rotation = left @ right
    residual = np.linalg.norm(seen - scales.mean() * mean @ rotation.T) / np.linalg.norm(seen)
    return np.vstack([rotation, np.cross(*rotation)]), float(residual)


def to_finite_array(values: object) -> Float[np.ndarray, "..."] | None:
    """Convert an array or nested sequences to float64.

    Args:
        values: array or nested sequences.

    Returns:
        The array; None if `values` holds anything but finite numbers.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of another device or with a gradient
        return None
    if array.dtype.kind not in "fiu":
        return None
    numbers = array.astype(np.float64)
    return numbers if np.isfinite(numbers).all() else None
