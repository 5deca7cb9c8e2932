"""Colour error inside the true visible face: how far outliers mislead the fit (section 4.2, Table 1)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.evaluation.rows import MetricValue
from focus_ray.evaluation.segmentation import mean_and_std


def rmse_255(
    picture: UInt8[np.ndarray, "H W 3"],
    rendering: UInt8[np.ndarray, "H W 3"],
    region: Bool[np.ndarray, "H W"],
    visible: Bool[np.ndarray, "H W"],
) -> float:
    """Compute the root mean square colour error over the pixels that are rendered and where the face is visible.

    Args:
        picture: target, RGB.
        rendering: rendered face in the picture's pixels, RGB.
        region: where the face is rendered.
        visible: where the face is visible in truth.

    Returns:
        Error over all channels, 0 to 255; NaN if there is no such pixel.
    """
    inside = region & visible
    if not inside.any():
        return float("nan")
    difference = picture[inside].astype(np.float64) - rendering[inside]
    return float(np.sqrt(np.square(difference).mean()))


def photometric_metrics(pictures: Sequence[float]) -> dict[str, MetricValue]:
    """Return mean and standard deviation of `rmse_255` over the pictures."""
    return {"rmse_255": mean_and_std(np.array(pictures, dtype=np.float64))}
