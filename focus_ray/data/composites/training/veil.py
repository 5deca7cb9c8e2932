"""Veils: thin cloth, through which the face is still seen, over the lower or upper face or one side."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.training.relief import draw_folds, light_relief
from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    draw_lines,
    fill_polygons,
    random_colour,
)

_OPACITY = (0.55, 0.9)
_LEAST = 0.53  # opacity of the thinnest place: a veil is labelled where it is more than half opaque
_FAR = 6.0  # units of the face's frame, beyond the picture


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw folded cloth of one opacity with a denser hem."""
    frame = FaceFrame.from_landmarks(landmarks)
    edge = frame.to_pixels(_edge(rng))
    outline = np.concatenate([edge, frame.to_pixels(_beyond(edge, frame))])
    cover = fill_polygons(size, outline)
    across = frame.unit * rng.uniform(0.12, 0.5)
    folds = draw_folds(rng, size, across, across * rng.uniform(3, 8), frame.angle + rng.normal(np.pi / 2, 0.6))
    opacity = np.float32(rng.uniform(*_OPACITY)) + np.float32(rng.uniform(0, 0.06)) * folds
    if rng.uniform() < 0.5:
        opacity = opacity + np.float32(0.3) * draw_lines(size, [edge], max(0.04 * frame.unit, 1.0))
    rgb = light_relief(
        cloth(rng, size, _veil_colour(rng), 0.25), folds, rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.15)
    )
    return OccluderLayer(add_light_gradient(rng, rgb), cover * np.clip(opacity, _LEAST, 0.97))


def _veil_colour(rng: Generator) -> Colour:
    """Black, white or cream, or any colour."""
    kind = rng.uniform()
    if kind < 0.3:
        return rng.uniform(0.02, 0.15) * rng.uniform(0.85, 1.15, 3)
    if kind < 0.6:
        return np.clip(rng.uniform(0.75, 1.0) * np.array([1.0, 0.97, 0.92]) * rng.uniform(0.95, 1.05, 3), 0, 1)
    return random_colour(rng)


def _edge(rng: Generator) -> Points:
    """Wavy edge of the cloth in the face's frame, with the cloth on its right as one walks along it."""
    t = np.linspace(-_FAR, _FAR, 33)
    waves = rng.uniform(0, 0.07, 3) @ np.sin(np.outer([0.9, 1.9, 3.3], t) + rng.uniform(0, 2 * np.pi, (3, 1)))
    line = rng.normal(0, 0.12) * t + waves
    kind = rng.uniform()
    if kind < 0.55:
        return np.stack([t, line + rng.uniform(0.2, 1.1)], 1)
    if kind < 0.85:
        return np.stack([-t, line + rng.uniform(-0.35, 0.9)], 1)
    side = rng.choice([-1.0, 1.0])
    return np.stack([side * (line - rng.uniform(-0.4, 0.4)), side * t], 1)


def _beyond(edge: Points, frame: FaceFrame) -> Points:
    """Two corners far behind the edge, last first, in the face's frame."""
    ends = (edge[[-1, 0]] - frame.origin) @ frame.axes.T / frame.unit
    along = ends[0] - ends[1]
    return ends + 2 * _FAR * np.array([[-along[1], along[0]]]) / max(float(np.hypot(*along)), 1e-6)
