"""Outlier segmentation inside the rendered region (section 4.3, Tables 4 and 5), picture by picture.

The positive class of `accuracy`, `ppv`, `tpr` and `f1` is the visible face: per picture, then mean and standard
deviation over the pictures, as the paper has them. `outlier_*` judge the other class, pooled over the pixels of all
pictures: many pictures hold few outliers.

Differs from the released code: it clamps each of the four counts to one pixel at least, so that no mask is perfect, and
leaves out of account that a count may be empty. Here a ratio that says nothing about a picture is left out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.evaluation.rows import MetricValue
from focus_ray.focus.metrics import MASK_THRESHOLD


class PixelCounts(NamedTuple):
    """Pixels of one picture inside the rendered region; of soft masks, shares of pixels."""

    true_face: float  # face, called face
    true_outlier: float  # outlier, called outlier
    missed_face: float  # face, called outlier
    missed_outlier: float  # outlier, called face


def binarise(mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """1 where the mask sees face."""
    return (mask > MASK_THRESHOLD).astype(np.float64)


def count_pixels(
    mask: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"], visible: Bool[np.ndarray, "H W"]
) -> PixelCounts:
    """Of a mask in [0, 1], 1 = face, where the face is rendered; `visible`: the true visible face."""
    face, outlier = mask[region & visible].astype(np.float64), mask[region & ~visible].astype(np.float64)
    return PixelCounts(float(face.sum()), float((1 - outlier).sum()), float((1 - face).sum()), float(outlier.sum()))


def segmentation_metrics(pictures: Sequence[PixelCounts]) -> dict[str, MetricValue]:
    """The figures of a subset, None where no picture tells."""
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
    """Mean and standard deviation over the pictures that say something (not NaN)."""
    known = values[np.isfinite(values)]
    return MetricValue(float(known.mean()), float(known.std())) if len(known) else MetricValue(None)


def _ratio(numerator: Any, denominator: Any) -> Any:
    """NaN where the denominator is zero: such a picture says nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
