"""The guided filter (He, Sun, Tang 2013) with a colour guide: a mask takes over the edges of its picture.

As in the fast version (He, Sun 2015), the linear functions may be fitted at a lower resolution than they are used at.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_LEAST_WEIGHT = 1e-3  # px: a neighbourhood with less has no function
_STRIP_PX = 1 << 19  # px that are predicted at once, so that memory does not grow with the picture


@dataclass(frozen=True, eq=False)
class LocalModel:
    """For each pixel a linear function of the colour: value = c0 R + c1 G + c2 B + c3, colours in [0, 1]."""

    coefficients: Float[np.ndarray, "h w 4"]

    def predict(self, guide: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
        """Compute the values at the pixels of a picture.

        Args:
            guide: the picture, RGB, as the functions were fitted to or larger.

        Returns:
            The values, not clamped.
        """
        height, width = guide.shape[:2]
        rows, columns = self.coefficients.shape[:2]
        ratio = np.array([columns / width, rows / height])
        values = np.empty((height, width), np.float32)
        step = max(1, _STRIP_PX // width)
        for top in range(0, height, step):
            strip = guide[top : top + step].astype(np.float32) / np.float32(255)
            shift = (ratio - 1.0) / 2.0 + [0.0, ratio[1] * top]
            # px of the strip to px of the functions; pixel centres at integers
            transform = np.hstack([np.diag(ratio), shift[:, None]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            local = cv2.warpAffine(
                self.coefficients, transform, strip.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
            values[top : top + step] = np.einsum("hwc,hwc->hw", local[..., :3], strip) + local[..., 3]
        return values


def fit_local_model(
    guide: UInt8[np.ndarray, "h w 3"],
    values: Float[np.ndarray, "h w"],
    weights: Float[np.ndarray, "h w"],
    radius: int,
    regularisation: float,
) -> LocalModel:
    """Fit values as a linear function of the colour in each square neighbourhood; a pixel gets the mean of all of its.

    Args:
        guide: the picture, RGB.
        values: what is filtered.
        weights: weight of each pixel; those of weight 0 do not count.
        radius: neighbourhoods are squares of 2 radius + 1 px.
        regularisation: epsilon of the paper: where the colours of a neighbourhood vary less (variance, colours in
            [0, 1]), values are averaged rather than fitted.

    Returns:
        The functions; 0 where nothing in reach counts.
    """
    weights = weights.astype(np.float32)
    total = _box_sum(weights, radius)
    known = total > _LEAST_WEIGHT
    scale = np.where(known, 1 / np.maximum(total, _LEAST_WEIGHT), 0).astype(np.float32)

    def mean(field: np.ndarray) -> np.ndarray:
        return _box_sum(weights * field, radius) * scale

    colours = [plane.astype(np.float32) / np.float32(255) for plane in cv2.split(guide)]
    values = values.astype(np.float32)
    means, mean_value = [mean(plane) for plane in colours], mean(values)
    covariances = {
        (i, j): mean(colours[i] * colours[j]) - means[i] * means[j] + np.float32(regularisation * (i == j))
        for i in range(3)
        for j in range(i, 3)
    }
    targets = [mean(plane * values) - average * mean_value for plane, average in zip(colours, means, strict=True)]
    slopes = _solve_symmetric(covariances, targets)
    offset = mean_value - sum(slope * average for slope, average in zip(slopes, means, strict=True))
    return LocalModel(np.dstack([mean(plane) for plane in (*slopes, offset)]))


def _box_sum(field: Float[np.ndarray, "h w"], radius: int) -> Float[np.ndarray, "h w"]:
    side = 2 * radius + 1
    return cv2.boxFilter(field, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _solve_symmetric(
    matrix: dict[tuple[int, int], Float[np.ndarray, "h w"]], target: list[Float[np.ndarray, "h w"]]
) -> list[Float[np.ndarray, "h w"]]:
    """Solve a symmetric positive definite system of three equations for each pixel, by cofactors."""
    a, b, c, d, e, f = (matrix[place] for place in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    x, y, z = target
    inverse = (
        (d * f - e * e, c * e - b * f, b * e - c * d),
        (c * e - b * f, a * f - c * c, b * c - a * e),
        (b * e - c * d, b * c - a * e, a * d - b * b),
    )
    determinant = a * inverse[0][0] + b * inverse[0][1] + c * inverse[0][2]
    return [(one * x + two * y + three * z) / determinant for one, two, three in inverse]
