"""Exact vertex errors beside NoW's metric: the distance of each vertex to its true position, on synthetic pictures.

NoW compares a scan with the nearest points of a surface: a vertex that slid along the surface has no error there, but
has one here. Both are reported, with the correlation of their ranks.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor

from focus_ray.errors import FaceModelError
from focus_ray.evaluation.rows import MetricValue
from focus_ray.evaluation.segmentation import mean_and_std
from focus_ray.focus.metrics import similarity_align

TABLE = "exact"
CORRELATION = "spearman"
_MIN_PICTURES = 3  # fewest pictures for a rank correlation


def vertex_errors(fitted: Float[np.ndarray, "V 3"], true: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, " V"]:
    """Compute the distance of each vertex to its true position after similarity alignment.

    Args:
        fitted: predicted vertices, mm.
        true: true vertices, mm.

    Returns:
        Distances, mm.

    Raises:
        FaceModelError: the numbers of vertices differ.
    """
    if fitted.shape != true.shape:
        raise FaceModelError(
            f"the prediction has {len(fitted)} vertices, the truth {len(true)}; predict with the same face model"
        )
    one, other = (torch.from_numpy(np.asarray(points, dtype=np.float64))[None] for points in (fitted, true))
    return (similarity_align(one, other) - other).norm(dim=-1)[0].numpy()


def vertex_error_metrics(
    errors: Sequence[Float[np.ndarray, " V"]], regions: Mapping[str, Bool[Tensor, " V"]]
) -> dict[str, MetricValue]:
    """Compute mean and standard deviation over pictures of the mean vertex error, for the whole face and each region.

    Args:
        errors: vertex errors of each picture, mm.
        regions: masks of vertices by name of the region.

    Returns:
        `vertex_mm` for the whole face and `NAME_mm` for each region that has vertices.
    """
    table = np.array(errors, dtype=np.float64)
    found = {"vertex_mm": mean_and_std(table.mean(axis=1) if len(table) else np.empty(0))}
    for name, inside in regions.items():
        chosen = inside.numpy()
        if chosen.any():
            found[f"{name}_mm"] = mean_and_std(table[:, chosen].mean(axis=1) if len(table) else np.empty(0))
    return found


def rank_correlation(one: Mapping[str, float], other: Mapping[str, float]) -> MetricValue:
    """Compute Spearman's rank correlation over common names; None for too few names or constant values."""
    names = sorted(set(one) & set(other))
    first, second = (np.array([values[name] for name in names]) for values in (one, other))
    if len(names) < _MIN_PICTURES or np.ptp(first) == 0 or np.ptp(second) == 0:
        return MetricValue(None)
    return MetricValue(float(np.corrcoef(rankdata(first), rankdata(second))[0, 1]))
