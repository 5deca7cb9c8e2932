"""Microphones: a round head before mouth or chin on a handle that leaves the picture."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import wave
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    capsule,
    composite,
    ellipse,
    fill_polygons,
    random_colour,
    shade_edges,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a dark handle and a head of foam or wire mesh."""
    frame = FaceFrame.from_landmarks(landmarks)
    head = frame.to_pixels(np.array([[rng.uniform(-0.5, 0.5), rng.uniform(0.75, 1.35)]]))
    radius = frame.unit * rng.uniform(0.42, 0.68)
    direction = rng.uniform(0.15, 0.85) * np.pi
    away = np.array([[np.cos(direction), np.sin(direction)]])
    outline = capsule(head, head + 8 * frame.unit * away, 0.6 * radius, 0.45 * radius)
    grip = fill_polygons(size, outline)
    ball = fill_polygons(size, ellipse(head, (radius, radius * rng.uniform(0.85, 1.0)), direction))
    foam = random_colour(rng) if rng.uniform() < 0.4 else np.full(3, rng.uniform(0.1, 0.6))
    mesh = solid_canvas(size, foam) * (1 + np.float32(0.2) * (wave(rng, size) * wave(rng, size))[..., None])
    handle = OccluderLayer(
        shade_edges(solid_canvas(size, np.full(3, rng.uniform(0.05, 0.35))), grip, 0.4 * radius, 0.5), grip
    )
    return composite(handle, OccluderLayer(add_light_gradient(rng, shade_edges(mesh, ball, radius, 0.5)), ball))
