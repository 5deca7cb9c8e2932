"""Texture patches: a smooth blob or a tilted rectangle of strongly patterned cloth."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    blob,
    ellipse,
    fill_polygons,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a patterned patch somewhere on the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    centre = frame.to_pixels(np.array([[rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 1.6)]]))
    radius = frame.unit * rng.uniform(0.55, 1.0)
    if rng.uniform() < 0.5:
        outline = blob(rng, centre, radius)
    else:
        outline = ellipse(centre, (radius, radius * rng.uniform(0.5, 1)), rng.uniform(0, np.pi), power=8.0)
    return OccluderLayer(add_light_gradient(rng, cloth(rng, size, patterned=1.0)), fill_polygons(size, outline))
