"""Face masks: from the bridge of the nose to under the chin, medical, cloth or respirator, with pleats and straps."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    composite,
    draw_lines,
    fill_polygons,
    overlay,
    shade_edges,
    solid_canvas,
)

_MEDICAL = np.array([[0.72, 0.86, 0.92], [0.93, 0.94, 0.95], [0.62, 0.83, 0.8], [0.1, 0.1, 0.12], [0.9, 0.75, 0.8]])


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a mask fixed to the landmarks of jaw and nose; worn low it leaves part of the nose free."""
    frame = FaceFrame.from_landmarks(landmarks)
    jaw, top = _edges(rng, frame, landmarks)
    alpha = fill_polygons(size, np.concatenate([jaw, top]))
    rgb = _fabric(rng, size)
    if rng.uniform() < 0.6:
        rgb = overlay(rgb, np.float32(rng.uniform(0.1, 0.3)) * _pleats(rng, size, landmarks), np.zeros(3))
    rgb = shade_edges(rgb, alpha, 0.5 * frame.unit, rng.uniform(0.05, 0.35))
    straps = [np.stack([landmarks[1], jaw[0]]), np.stack([landmarks[15], jaw[-1]])]
    strap = draw_lines(size, straps, max(0.05 * frame.unit, 1.0))
    return composite(
        OccluderLayer(solid_canvas(size, np.full(3, 0.85)), strap), OccluderLayer(add_light_gradient(rng, rgb), alpha)
    )


def _edges(rng: Generator, frame: FaceFrame, landmarks: Landmarks) -> tuple[Points, Points]:
    """The lower edge from the right cheek along the jaw to the left cheek, and the upper one back over the nose."""
    first = int(rng.integers(2, 5))
    jaw = landmarks[first : 17 - first]
    centre = landmarks[33:34]
    jaw = centre + (jaw - centre) * rng.uniform(0.96, 1.08)
    top = landmarks[27] + (landmarks[33] - landmarks[27]) * rng.uniform(0.1, 0.75)
    side = rng.uniform(0.3, 0.5)
    shoulder = [top + side * (jaw[end] - top) - 0.05 * frame.unit * frame.axes[1] for end in (-1, 0)]
    return jaw, np.stack([shoulder[0], top, shoulder[1]])


def _fabric(rng: Generator, size: int) -> np.ndarray:
    """Medical colours, or any cloth."""
    if rng.uniform() < 0.65:
        base = _MEDICAL[int(rng.integers(len(_MEDICAL)))] * rng.uniform(0.8, 1.05)
        return cloth(rng, size, base, patterned=0.0)
    return cloth(rng, size)


def _pleats(rng: Generator, size: int, landmarks: Landmarks) -> np.ndarray:
    """Three lines across the mask."""
    start, end, middle = landmarks[4], landmarks[12], landmarks[51]
    step = (landmarks[8] - landmarks[33]) * rng.uniform(0.12, 0.22)
    line = np.stack([start, 0.5 * middle + 0.25 * (start + end), end])
    return draw_lines(size, [line + step * k for k in (-1.5, -0.5, 0.5)], 1.0)
