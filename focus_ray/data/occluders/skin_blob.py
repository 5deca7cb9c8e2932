"""Skin blobs: a shapeless piece of skin before the face, in the face's own colour or another tone."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_grain,
    add_light_gradient,
    blob,
    fill_polygons,
    random_skin_colour,
    shade_edges,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a smooth outline, shaded like a round body."""
    frame = FaceFrame.from_landmarks(landmarks)
    centre = frame.to_pixels(np.array([[rng.uniform(-0.9, 0.9), rng.uniform(-0.8, 1.6)]]))
    radius = frame.unit * rng.uniform(0.55, 1.1)
    alpha = fill_polygons(size, blob(rng, centre, radius))
    rgb, amount = solid_canvas(size, random_skin_colour(rng, skin)), rng.uniform(0, 0.02)
    rgb = add_grain(rgb, noise(rng, size, 20, 1)[..., 0], amount)
    return OccluderLayer(add_light_gradient(rng, shade_edges(rgb, alpha, 0.5 * radius, rng.uniform(0.1, 0.45))), alpha)
