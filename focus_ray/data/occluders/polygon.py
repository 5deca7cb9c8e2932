"""Polygons: one flat piece with three to seven corners, as of a sign, a book or a placard."""

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
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a star-shaped polygon around a point of the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    corners = int(rng.integers(3, 8))
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners)) * 0.4 + np.linspace(0, 2 * np.pi, corners, endpoint=False) * 0.6
    radius = rng.uniform(0.65, 1.35) * rng.uniform(0.7, 1.0, corners)
    centre = np.array([[rng.uniform(-1, 1), rng.uniform(-0.9, 1.6)]])
    outline = centre + (radius * np.stack([np.cos(turn), np.sin(turn)])).T
    return OccluderLayer(
        add_light_gradient(rng, cloth(rng, size, patterned=0.35)), fill_polygons(size, frame.to_pixels(outline))
    )
