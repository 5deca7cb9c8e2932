"""Bars: one to three straight beams across the picture, as of a fence, a pole or a window frame."""

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
    rotation_matrix,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw nearly parallel beams of one cloth, with their centres on the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    angle, count = rng.uniform(0, np.pi), int(rng.integers(1, 4))
    thickness = rng.uniform(0.3, 0.7) / count**0.6
    beams = []
    for _ in range(count):
        centre = frame.to_pixels(np.array([[rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 1.5)]]))
        half = np.array([4.0 * size, 0.5 * thickness * frame.unit * rng.uniform(0.7, 1.3)])
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        beams.append(centre + corners @ rotation_matrix(angle + rng.normal(0, 0.25)))
    return OccluderLayer(add_light_gradient(rng, cloth(rng, size)), fill_polygons(size, *beams))
