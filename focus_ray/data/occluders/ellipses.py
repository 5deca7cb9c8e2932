"""Ellipses: one to five discs of their own colours, as of balloons, balls or lens dirt."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    composite,
    ellipse,
    fill_polygons,
    random_colour,
    shade_edges,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw discs over each other, flat or round."""
    frame = FaceFrame.from_landmarks(landmarks)
    count = int(rng.integers(1, 6))
    layers = [_disc(rng, size, frame, rng.uniform(0.4, 0.95) / count**0.35) for _ in range(count)]
    layer = layers[0]
    for top in layers[1:]:
        layer = composite(layer, top)
    return layer


def _disc(rng: Generator, size: int, frame: FaceFrame, radius: float) -> OccluderLayer:
    centre = frame.to_pixels(np.array([[rng.uniform(-0.9, 0.9), rng.uniform(-1, 1.6)]]))
    radii = (radius * frame.unit, radius * frame.unit * rng.uniform(0.5, 1.0))
    alpha = fill_polygons(size, ellipse(centre, radii, rng.uniform(0, np.pi)))
    rgb = add_light_gradient(rng, solid_canvas(size, random_colour(rng)))
    return OccluderLayer(shade_edges(rgb, alpha, radii[0], rng.uniform(0, 0.6)), alpha)
