"""Caps: a visor, a hat's brim or a hood's edge over the forehead, down to the brows or below."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    fill_polygons,
    overlay,
    shade_edges,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a crown of cloth and a darker brim with a bent lower edge."""
    frame = FaceFrame.from_landmarks(landmarks)
    height, bend, tilt = rng.uniform(-0.85, -0.15), rng.uniform(-0.35, 0.35), rng.normal(0, 0.12)
    x = np.linspace(-1.9, 1.9, 25)
    edge = height + bend * (1 - (x / 1.9) ** 2) + tilt * x
    thickness = rng.uniform(0.15, 0.6)
    crown = np.concatenate([np.stack([x, edge], 1), [[1.7, -2.2], [0.8, -3.2], [-0.8, -3.2], [-1.7, -2.2]]])
    brim = np.concatenate([np.stack([x, edge], 1), np.stack([x, edge - thickness * (1.2 - (x / 1.9) ** 2)], 1)[::-1]])
    alpha = fill_polygons(size, frame.to_pixels(crown))
    rgb = shade_edges(cloth(rng, size, patterned=0.4), alpha, 0.6 * frame.unit, 0.25)
    rgb = overlay(rgb, fill_polygons(size, frame.to_pixels(brim)), rgb * np.float32(rng.uniform(0.35, 0.8)))
    return OccluderLayer(add_light_gradient(rng, rgb), alpha)
