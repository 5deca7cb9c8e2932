"""Smooth continuation of an image into the places where it is unknown, by a pyramid (pull-push interpolation)."""

import cv2
import numpy as np
from jaxtyping import Float

_COARSEST = 4  # px
_GAIN = 2.0  # of the weight at each coarser level: 4 would count one known pixel of four as if all were known


def fill(values: Float[np.ndarray, "T T 3"], weights: Float[np.ndarray, "T T"]) -> Float[np.ndarray, "T T 3"]:
    """Continue an image smoothly: the farther from known pixels, the coarser.

    Args:
        values: the image; its side is a power of two.
        weights: 1 where it is known, 0 where it is not.

    Returns:
        The values where the weight is 1, a mean of known values around elsewhere; 0 if nothing is known.
    """
    levels = [(values * weights[..., None], weights)]
    while len(levels[-1][1]) > _COARSEST:
        weighted, weight = (cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in levels[-1])
        gain = np.minimum(_GAIN, 1.0 / np.maximum(weight, 1e-6)).astype(np.float32)
        levels.append((weighted * gain[..., None], weight * gain))
    weighted, weight = levels.pop()
    total = max(float(weight.sum()), 1e-6)
    mean = weighted.sum(axis=(0, 1)) / total
    found = weighted + (1.0 - weight)[..., None] * mean.astype(np.float32)
    for weighted, weight in reversed(levels):
        found = weighted + (1.0 - weight)[..., None] * cv2.pyrUp(found)
    return found
