"""Landmark error: the distance of each landmark from its true position, as a share of the size of the face (NME).

The size is sqrt(width x height) of the box of the true landmarks, or the distance of the outer corners of the eyes. A
face that was not found has no error; it counts in the rates and in the area under the curve as an infinite one.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.errors import LandmarkError
from focus_ray.evaluation.rows import MetricValue
from focus_ray.evaluation.segmentation import mean_and_std
from focus_ray.face_models.landmarks import LANDMARK_GROUPS, LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

Normalisation = Literal["box", "interocular"]

LARGE_ERROR = 0.1  # of the size of the face
CURVE_LIMIT = 0.07  # error up to which the area under the curve counts, as in Bulat and Tzimiropoulos (ICCV 2017)
YAW_BINS = {"yaw 0-30": (0.0, 30.0), "yaw 30-60": (30.0, 60.0), "yaw 60-90": (60.0, np.inf)}
"""Name of a subset of the pictures, and its range of the absolute yaw, degrees. The last one has no upper limit."""

_OUTER_EYE_CORNERS = [RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[1]]
_PERCENT = 100.0


def face_size(points: Float[np.ndarray, "68 2"], normalisation: Normalisation) -> float:
    """Compute the size of a face that errors are divided by.

    Args:
        points: true landmarks, px.
        normalisation: box: sqrt(width x height) of their bounding box; interocular: distance of the outer eye corners.

    Returns:
        Size, px.

    Raises:
        LandmarkError: the outer eye corners coincide.
    """
    if normalisation == "box":
        _, _, width, height = bounding_box(points)
        return float(np.sqrt(width * height))
    right, left = points[_OUTER_EYE_CORNERS]
    distance = float(np.linalg.norm(right - left))
    if distance == 0:
        raise LandmarkError("the outer eye corners coincide; correct the landmarks, or normalise by the box")
    return distance


def match_face(
    faces: Sequence[Detection], points: Float[np.ndarray, "68 2"], least_overlap: float
) -> tuple[Detection | None, float]:
    """Find the detection whose box overlaps the box of the true landmarks best.

    Args:
        faces: detections of the picture.
        points: true landmarks, px.
        least_overlap: smallest intersection over union that counts as the same face.

    Returns:
        (detection, intersection over union); no detection if the best overlap is smaller than the least one, and an
        overlap of 0 without detections.
    """
    true_box = bounding_box(points)
    overlaps = [intersection_over_union(face.box, true_box) for face in faces]
    best = max(overlaps, default=0.0)
    return (faces[overlaps.index(best)] if overlaps and best >= least_overlap else None), best


def intersection_over_union(one: Sequence[float], other: Sequence[float]) -> float:
    """Compute the area that two boxes (x, y, width, height) share, over the area that they cover."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def landmark_metrics(errors: Float[np.ndarray, "N 68"]) -> dict[str, MetricValue]:
    """Compute the metrics of some pictures, in percent.

    Args:
        errors: distance of each landmark from its true position, as a share of the size of the face; NaN in a picture
            whose face was not found.

    Returns:
        `nme` (mean and standard deviation over the pictures with a face), `nme_median` and `nme_p90` (of the same),
        `nme_GROUP` for each group of landmarks; `not_found`, `large` (error above LARGE_ERROR or not found) and `auc`
        (area under the cumulative curve up to CURVE_LIMIT, over that limit) of all pictures; `pictures`, their number.
    """
    per_picture = errors.mean(axis=1)
    known = per_picture[np.isfinite(per_picture)]
    reached = np.where(np.isfinite(per_picture), per_picture, np.inf)
    shares = {
        "not_found": np.isinf(reached),
        "large": reached > LARGE_ERROR,
        "auc": (1.0 - reached / CURVE_LIMIT).clip(min=0.0),  # the mean of the areas of the pictures' own curves
    }
    quantiles = {"nme_median": 0.5, "nme_p90": 0.9}
    return (
        {"nme": mean_and_std(_PERCENT * per_picture)}
        | {
            key: MetricValue(_PERCENT * float(np.quantile(known, q)) if len(known) else None)
            for key, q in quantiles.items()
        }
        | {key: MetricValue(_PERCENT * float(values.mean())) for key, values in shares.items()}
        | {
            f"nme_{group}": mean_and_std(_PERCENT * errors[:, list(members)].mean(axis=1))
            for group, members in LANDMARK_GROUPS.items()
        }
        | {"pictures": MetricValue(float(len(errors)))}
    )


def yaw_subsets(yaws: Float[np.ndarray, " N"]) -> dict[str, list[int]]:
    """Group pictures by absolute yaw.

    Args:
        yaws: yaw of each picture, degrees; NaN is in no group.

    Returns:
        Numbers of the pictures by name of the subset; subsets without pictures are left out.
    """
    found = {
        name: np.flatnonzero((np.abs(yaws) >= low) & (np.abs(yaws) < high)).tolist()
        for name, (low, high) in YAW_BINS.items()
    }
    return {name: numbers for name, numbers in found.items() if numbers}
