"""Relief of occluders: smooth folds and the light on an uneven surface."""

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.drawing import Image, Mask, rotation_matrix

_SAMPLES = 6.0  # of a fold, across it, before the last interpolation
_WIDE = 4.0  # px
_SPREAD = 2.5  # limit of a slope's effect, in standard deviations


def draw_folds(rng: Generator, size: int, across: float, along: float, angle: float) -> Mask:
    """Draw the height of irregular folds, smooth noise that is longer in one direction.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        across: distance of the folds, px.
        along: length of the folds, px.
        angle: direction of the folds, rad from x towards y.

    Returns:
        Height of mean 0 and standard deviation of about 1.
    """
    coarse = int(np.clip(np.ceil(_SAMPLES * size / max(across, 1e-3)), 8, size))  # the warp has 1/32 of a knot only
    steps = np.maximum(np.array([along, across]) * coarse / size, 1.5)
    cells = np.minimum(np.ceil(1.5 * coarse / steps).astype(int) + 3, 2 * coarse)
    knots = rng.standard_normal((cells[1], cells[0]), dtype=np.float32)
    to_knots = (rotation_matrix(angle) / steps).T
    offset = (cells - 1) / 2 - to_knots @ np.full(2, (coarse - 1) / 2) + rng.uniform(-0.5, 0.5, 2)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    matrix = np.column_stack([to_knots, offset])
    folds = cv2.warpAffine(knots, matrix, (coarse, coarse), flags=flags, borderMode=cv2.BORDER_REFLECT)
    folds = cv2.GaussianBlur(folds, (0, 0), 1.2)
    return cv2.resize(folds, (size, size), interpolation=cv2.INTER_CUBIC)


def light_relief(rgb: Image, height: Mask, turn: float, strength: float) -> Image:
    """Light an uneven surface from a side: slopes towards the light are brighter.

    Args:
        rgb: canvas.
        height: height of the surface, in any unit.
        turn: direction of the light in the picture, rad.
        strength: change of brightness by a slope of one standard deviation.

    Returns:
        The shaded canvas.
    """
    slope = np.float32(np.cos(turn)) * cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    slope += np.float32(np.sin(turn)) * cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    deviation = float(cv2.meanStdDev(slope)[1][0, 0])
    factor = 1 + np.float32(strength) * np.clip(slope / np.float32(max(deviation, 1e-6)), -_SPREAD, _SPREAD)
    return rgb * np.maximum(factor, np.float32(0.1))[..., None]


def blur_widely(mask: Mask, sigma: float) -> Mask:
    """Blur by a wide Gaussian at a quarter of the resolution, which is several times as fast.

    Args:
        mask: canvas.
        sigma: px.

    Returns:
        The blurred canvas.
    """
    if sigma < _WIDE:
        return cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.3))
    height, width = mask.shape
    small = cv2.resize(mask, ((width + 3) // 4, (height + 3) // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (width, height), interpolation=cv2.INTER_LINEAR)
