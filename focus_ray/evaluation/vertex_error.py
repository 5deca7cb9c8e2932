"""A second estimator beside NoW's: the distance of each vertex to its true place, where synthetic truth tells it.

NoW compares a scan with the nearest points of a surface; a vertex that slid along the surface is right there and wrong
here. Both are told, and how far they agree in rank.
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
_MIN_PICTURES = 3  # pictures, below which a rank correlation says nothing


def vertex_errors(fitted: Float[np.ndarray, "V 3"], true: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, " V"]:
    """Distance of each vertex to its true place after similarity alignment, in mm.

    Raises FaceModelError where the two are no faces of one topology.
    """
    if fitted.shape != true.shape:
        raise FaceModelError(
            f"the prediction has {len(fitted)} vertices, the truth {len(true)}; exact errors need the same face model"
        )
    one, other = (torch.from_numpy(np.asarray(points, dtype=np.float64))[None] for points in (fitted, true))
    return (similarity_align(one, other) - other).norm(dim=-1)[0].numpy()


def vertex_error_metrics(
    errors: Sequence[Float[np.ndarray, " V"]], regions: Mapping[str, Bool[Tensor, " V"]]
) -> dict[str, MetricValue]:
    """Mean over vertices, then mean and spread over pictures: of the whole face, and of each region, in mm."""
    table = np.array(errors, dtype=np.float64)
    found = {"vertex_mm": mean_and_std(table.mean(axis=1) if len(table) else np.empty(0))}
    for name, inside in regions.items():
        chosen = inside.numpy()
        if chosen.any():
            found[f"{name}_mm"] = mean_and_std(table[:, chosen].mean(axis=1) if len(table) else np.empty(0))
    return found


def rank_correlation(one: Mapping[str, float], other: Mapping[str, float]) -> MetricValue:
    """Spearman's rank correlation over the names that both have; None where they are too few or all alike."""
    names = sorted(set(one) & set(other))
    first, second = (np.array([values[name] for name in names]) for values in (one, other))
    if len(names) < _MIN_PICTURES or np.ptp(first) == 0 or np.ptp(second) == 0:
        return MetricValue(None)
    return MetricValue(float(np.corrcoef(rankdata(first), rankdata(second))[0, 1]))
