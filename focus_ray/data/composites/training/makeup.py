"""Make-up and marks of the skin: lipstick, eye shadow, blush, freckles, moles, redness; as factors on a photograph."""

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    Mask,
    ellipse,
    fill_polygons,
    overlay,
    solid_canvas,
)

_LIPS, _EYES, _BLUSH, _FRECKLES, _MOLES, _UNEVEN = 0.22, 0.18, 0.2, 0.15, 0.12, 0.2  # probabilities
_MOUTH_OUTSIDE, _MOUTH_INSIDE = slice(48, 60), slice(60, 68)
_LIDS = ((36, 40, 17, 22), (42, 46, 22, 27))  # upper lid and brow of each eye, as half-open ranges of landmarks


def draw_makeup(rng: Generator, shape: tuple[int, int], landmarks: Landmarks) -> Image | None:
    """Draw make-up and marks of low contrast.

    Args:
        rng: random generator.
        shape: height and width of the photograph, px.
        landmarks: px of the photograph, iBUG order.

    Returns:
        Factor on each stored value; None for none.
    """
    frame = FaceFrame.from_landmarks(landmarks)
    chosen = rng.uniform(size=6) < [_LIPS, _EYES, _BLUSH, _FRECKLES, _MOLES, _UNEVEN]
    if not chosen.any():
        return None
    size = max(shape)
    factor = solid_canvas(size, np.ones(3))
    if chosen[0]:
        factor = overlay(factor, _lips(rng, size, landmarks, frame), _red(rng, 0.45))
    if chosen[1]:
        factor = overlay(factor, _eye_shadow(rng, size, landmarks, frame), rng.uniform(0.45, 1.0, 3))
    if chosen[2]:
        factor = overlay(factor, _cheeks(rng, size, frame), _red(rng, 0.7))
    if chosen[3]:
        factor = overlay(factor, _freckles(rng, size, frame, int(rng.integers(20, 120))), np.array([0.8, 0.68, 0.6]))
    if chosen[4]:
        factor = overlay(factor, _freckles(rng, size, frame, int(rng.integers(1, 5)), 0.035), np.full(3, 0.45))
    if chosen[5]:
        spots = noise(rng, size, max(4, round(size / frame.unit * rng.uniform(2, 8))), 1)[..., 0]
        factor = overlay(factor, np.clip(np.float32(0.5) * spots, 0, 1), _red(rng, 0.88))
    return factor[: shape[0], : shape[1]]


def _red(rng: Generator, least: float) -> Colour:
    """Factors that redden: from lipstick (small least) to a flush of the skin."""
    return np.array([rng.uniform(0.5 + 0.5 * least, 1.08), *(rng.uniform(least, 1.0) * rng.uniform(0.9, 1.1, 2))])


def _soft(mask: Mask, sigma: float, strength: float) -> Mask:
    return np.float32(strength) * cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.4))


def _lips(rng: Generator, size: int, landmarks: Landmarks, frame: FaceFrame) -> Mask:
    outside, inside = (fill_polygons(size, landmarks[part]) for part in (_MOUTH_OUTSIDE, _MOUTH_INSIDE))
    return _soft(outside * (1 - inside), 0.02 * frame.unit, rng.uniform(0.3, 1.0))


def _eye_shadow(rng: Generator, size: int, landmarks: Landmarks, frame: FaceFrame) -> Mask:
    """From the upper lid part of the way to the brow."""
    reach, outlines = rng.uniform(0.25, 0.8), []
    for first, last, brow, end in _LIDS:
        lid = landmarks[first:last]
        outlines.append(np.concatenate([lid, (lid[:1] + reach * (landmarks[brow:end] - lid[:1]))[::-1]]))
    return _soft(fill_polygons(size, *outlines), 0.05 * frame.unit, rng.uniform(0.2, 0.8))


def _cheeks(rng: Generator, size: int, frame: FaceFrame) -> Mask:
    across, down = rng.uniform(0.55, 0.8), rng.uniform(0.5, 0.85)
    radii = (frame.unit * rng.uniform(0.18, 0.35), frame.unit * rng.uniform(0.12, 0.22))
    middles = (frame.to_pixels(np.array([[side * across, down]])) for side in (-1, 1))
    outlines = [ellipse(m, radii, frame.angle - side * 0.4) for m, side in zip(middles, (-1, 1), strict=True)]
    return _soft(fill_polygons(size, *outlines), 0.12 * frame.unit, rng.uniform(0.3, 1.0))


def _freckles(rng: Generator, size: int, frame: FaceFrame, count: int, largest: float = 0.02) -> Mask:
    """Small round spots, most of them on nose and cheeks."""
    places = frame.to_pixels(rng.normal(0, 1, (count, 2)) * [0.55, 0.35] + [0.0, 0.55])
    radii = frame.unit * rng.uniform(0.3, 1.0, count) * largest
    spots = [ellipse(place[None], (radius, radius)) for place, radius in zip(places, radii, strict=True)]
    return _soft(fill_polygons(size, *spots), 0.008 * frame.unit, rng.uniform(0.3, 0.9))
