"""Strands: a few thin hairs, wires or cords of glasses across the face."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    Points,
    draw_lines,
    random_colour,
    tinted_canvas,
)
from focus_ray.data.occluders.hair import hair_colour

_HAIR = 0.7  # probability


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw bundles of hair that part towards their tips, or one or two cords."""
    frame = FaceFrame.from_landmarks(landmarks)
    alpha = np.zeros((size, size), np.float32)
    hair = rng.uniform() < _HAIR
    for _ in range(int(rng.integers(1, 5)) if hair else int(rng.integers(1, 3))):
        lines = [frame.to_pixels(line) for line in (_bundle(rng) if hair else _cord(rng))]
        widest = 0.035 if hair else 0.07
        alpha = np.maximum(alpha, draw_lines(size, lines, max(rng.uniform(0.012, widest) * frame.unit, 1.2)))
    colour = hair_colour(rng) if hair else random_colour(rng)
    shine = np.clip(1 + np.float32(0.25) * noise(rng, size, 24, 1)[..., 0], 0.4, 1.8)
    return OccluderLayer(tinted_canvas(colour, shine), alpha)


def _bundle(rng: Generator) -> list[Points]:
    """Hairs from the hairline, or from beside the face, to a tip in the face."""
    t = np.linspace(0, 1, 20)[:, None]
    side = rng.choice([-1.0, 1.0])
    root = np.array([side * rng.uniform(0.1, 1.4), rng.uniform(-2.0, -0.9)])
    tip = np.array([side * rng.uniform(-0.9, 1.0), rng.uniform(0.1, 2.0)])
    bow, curl = rng.normal(0, 0.35, 2), rng.uniform(0, 0.08)
    spine = root + t * (tip - root) + np.sin(np.pi * t) * bow + curl * np.sin(9 * t + rng.uniform(0, 6)) * [1.0, 0.3]
    return [spine + rng.normal(0, 0.03, 2) + t**2 * rng.normal(0, 0.16, 2) for _ in range(int(rng.integers(2, 9)))]


def _cord(rng: Generator) -> list[Points]:
    """A cord or wire that hangs from one side of the face to the other, or down from it."""
    t = np.linspace(-1, 1, 20)[:, None]
    start, end = np.array([-1.4, rng.uniform(-1.2, 2.0)]), np.array([1.4, rng.uniform(-1.2, 2.0)])
    if rng.uniform() < 0.4:
        start, end = np.array([rng.uniform(-1, 1), -2.2]), np.array([rng.uniform(-1, 1), 3.0])
    sag = (1 - t**2) * [rng.normal(0, 0.15), rng.uniform(-0.2, 0.7)]
    return [start + (t + 1) / 2 * (end - start) + sag]
