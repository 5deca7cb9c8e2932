"""Scarves and collars: cloth over the lower face with a wavy upper edge and folds."""

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
    draw_lines,
    fill_polygons,
    overlay,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw cloth from an edge between nose tip and chin to the lower border of the picture."""
    frame = FaceFrame.from_landmarks(landmarks)
    height, tilt = rng.uniform(0.65, 1.3), rng.normal(0, 0.15)
    edge = _edge(rng, height, tilt)
    below = np.array([[4.0, 8.0], [-4.0, 8.0]])
    rgb = cloth(rng, size)
    folds = [frame.to_pixels(_edge(rng, height + drop, tilt)) for drop in np.arange(1, 4) * rng.uniform(0.18, 0.4)]
    rgb = overlay(rgb, np.float32(rng.uniform(0.1, 0.5)) * draw_lines(size, folds, 0.08 * frame.unit), np.zeros(3))
    return OccluderLayer(
        add_light_gradient(rng, rgb), fill_polygons(size, frame.to_pixels(np.concatenate([edge, below])))
    )


def _edge(rng: Generator, height: float, tilt: float) -> Points:
    """A wavy line from left to right in face coordinates."""
    x = np.linspace(-4, 4, 33)
    waves = rng.uniform(0, 0.1, 3) @ np.sin(np.outer([0.8, 1.7, 3.1], x) + rng.uniform(0, 2 * np.pi, (3, 1)))
    return np.stack([x, height + tilt * x + waves], 1)
