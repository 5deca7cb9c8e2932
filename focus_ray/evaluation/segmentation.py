"""Outlier segmentation inside the rendered region (section 4.3, Tables 4 and 5), picture by picture.

The positive class of `accuracy`, `ppv`, `tpr` and `f1` is the visible face: per picture, then mean and standard
deviation over the pictures, as in the paper. `outlier_*` are about the other class, pooled over the pixels of all
pictures, since many pictures have few outliers.

Differs from the released code, which clamps each of the four counts to at least one pixel, so that no mask is perfect,
and which ignores that a count may be zero. Here a ratio with denominator zero is left out of the mean.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.evaluation.rows import MetricValue
from focus_ray.focus.metrics import MASK_THRESHOLD


class PixelCounts(NamedTuple):
    """Pixel counts of one picture inside the rendered region; sums of shares for soft masks."""

    true_face: float  # face, predicted as face
    true_outlier: float  # outlier, predicted as outlier
    missed_face: float  # face, predicted as outlier
    missed_outlier: float  # outlier, predicted as face


def binarise(mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Binarise a mask at MASK_THRESHOLD.

    Args:
        mask: in [0, 1], 1 = face.

    Returns:
        1 above the threshold, else 0.
    """
    return (mask > MASK_THRESHOLD).astype(np.float64)


def count_pixels(
    mask: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"], visible: Bool[np.ndarray, "H W"]
) -> PixelCounts:
    """Count the pixels of a mask by true and predicted class.

    Args:
        mask: in [0, 1], 1 = face.
        region: where the face is rendered; only these pixels count.
        visible: where the face is visible in truth.

    Returns:
        Counts of the four cases.
    """
    face, outlier = mask[region & visible].astype(np.float64), mask[region & ~visible].astype(np.float64)
    return PixelCounts(float(face.sum()), float((1 - outlier).sum()), float((1 - face).sum()), float(outlier.sum()))


def segmentation_metrics(pictures: Sequence[PixelCounts]) -> dict[str, MetricValue]:
    """Compute the metrics of some pictures; None where every denominator is zero."""
    table = np.array(pictures, dtype=np.float64).reshape(-1, 4)
    face, outlier, lost, missed = table.T
    total = table.sum(axis=1)
    by_picture = {
        "accuracy": _ratio(face + outlier, total),
        "ppv": _ratio(face, face + missed),
        "tpr": _ratio(face, face + lost),
        "f1": _ratio(2 * face, 2 * face + lost + missed),
    }
    all_face, all_outlier, all_lost, all_missed = table.sum(axis=0)
    recall = _ratio(all_outlier, all_outlier + all_missed)
    pooled = {
        "outlier_precision": _ratio(all_outlier, all_outlier + all_lost),
        "outlier_recall": recall,
        "outlier_iou": _ratio(all_outlier, all_outlier + all_lost + all_missed),
        "balanced_accuracy": (recall + _ratio(all_face, all_face + all_lost)) / 2,
    }
    return {name: mean_and_std(values) for name, values in by_picture.items()} | {
        name: MetricValue(float(value) if np.isfinite(value) else None) for name, value in pooled.items()
    }


def mean_and_std(values: Float[np.ndarray, " N"]) -> MetricValue:
    """Compute mean and standard deviation over pictures.

    Args:
        values: one value for each picture; NaN is left out.

    Returns:
        Both figures; None if all values are NaN.
    """
    known = values[np.isfinite(values)]
    return MetricValue(float(known.mean()), float(known.std())) if len(known) else MetricValue(None)


def _ratio(numerator: Any, denominator: Any) -> Any:
    """Divide; NaN where the denominator is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
