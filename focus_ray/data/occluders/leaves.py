"""Leaves: a twig with pointed leaves, or a bunch of flowers, before part of the face."""

import numpy as np
from numpy.random import Generator

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
    random_colour,
    rotation_matrix,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw leaves of about one colour along a bent twig."""
    frame = FaceFrame.from_landmarks(landmarks)
    twig = _twig(rng)
    count = int(rng.integers(10, 20))
    base = np.array([0.2, 0.45, 0.12]) * rng.uniform(0.5, 1.6) if rng.uniform() < 0.6 else random_colour(rng)
    alpha = draw_lines(size, [frame.to_pixels(twig)], 0.06 * frame.unit)
    rgb = solid_canvas(size, np.array([0.3, 0.2, 0.1]))
    for _ in range(count):
        joint = twig[int(rng.integers(len(twig)))]
        leaf = fill_polygons(size, frame.to_pixels(_leaf(rng, joint, rng.uniform(0.4, 0.85))))
        rgb = overlay(rgb, leaf, np.clip(base * rng.uniform(0.6, 1.3), 0, 1))
        alpha = np.maximum(alpha, leaf)
    return OccluderLayer(add_light_gradient(rng, rgb), alpha)


def _twig(rng: Generator) -> Points:
    """A bent line through the face from outside it, in face coordinates."""
    turn = rng.uniform(0, 2 * np.pi)
    across = np.array([np.cos(turn), np.sin(turn)])
    middle = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 1.3)])
    t = np.linspace(-1.6, 0.9, 14)[:, None]
    return middle + t * across + rng.normal(0, 0.25) * t**2 * np.array([-across[1], across[0]])


def _leaf(rng: Generator, joint: np.ndarray, length: float) -> Points:
    """A pointed oval that starts at the joint."""
    t = np.linspace(0, 1, 10)
    bulge = rng.uniform(0.2, 0.34) * np.sin(np.pi * t) ** 0.8
    outline = np.concatenate([np.stack([t, bulge], 1), np.stack([t, -bulge], 1)[::-1]])
    return joint + length * outline @ rotation_matrix(rng.uniform(0, 2 * np.pi))
