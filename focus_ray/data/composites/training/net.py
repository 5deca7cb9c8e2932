"""Nets: a mesh of thin threads before a part of the face, of veils, fences, hair nets and sieves."""

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.training.relief import draw_folds
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    blob,
    draw_lines,
    fill_polygons,
    random_colour,
    rotation_matrix,
    solid_canvas,
)

_REACH = 3.2  # units of the face's frame from its middle to the mesh's end
_LINES = 110  # largest number of threads in one direction


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw crossed threads, bent by folds, in a half plane, a blob or everywhere."""
    frame = FaceFrame.from_landmarks(landmarks)
    spacing = max(np.exp(rng.uniform(np.log(0.08), np.log(0.45))), 5.0 / frame.unit, 2 * _REACH / _LINES)
    width = max(rng.uniform(0.08, 0.25) * spacing * frame.unit, 1.2)
    turn, crossing = rng.uniform(0, np.pi), rng.choice([np.pi / 2, np.pi / 3, np.pi / 2.4])
    bend = rng.uniform(0, 0.12)
    lines = []
    for angle in (turn, turn + crossing):
        lines += [frame.to_pixels(line) for line in _threads(rng, spacing, angle, bend)]
    alpha = draw_lines(size, lines, width) * fill_polygons(size, frame.to_pixels(_part(rng)))
    colour = random_colour(rng) if rng.uniform() < 0.4 else np.full(3, rng.choice([0.03, 0.1, 0.9, 0.97]))
    shine = draw_folds(rng, size, 0.3 * frame.unit, 0.3 * frame.unit, 0.0) * np.float32(0.1)
    rgb = solid_canvas(size, colour) * (1 + shine)[..., None]
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.4) if rng.uniform() < 0.3 else alpha
    return OccluderLayer(add_light_gradient(rng, rgb), np.clip(alpha, 0, 1))


def _threads(rng: Generator, spacing: float, angle: float, bend: float) -> list[Points]:
    """Parallel wavy threads through the face's middle, in its frame."""
    t = np.linspace(-_REACH, _REACH, 25)
    phases, middle = rng.uniform(0, 2 * np.pi, 2), np.array([0.0, 0.5])
    lines = []
    for place in np.arange(-_REACH, _REACH, spacing):
        wave = bend * (np.sin(1.3 * t + phases[0]) + 0.5 * np.sin(2.9 * t + 0.7 * place + phases[1]))
        lines.append(np.stack([t, place + wave], 1) @ rotation_matrix(angle) + middle)
    return lines


def _part(rng: Generator) -> Points:
    """Where the net is, in the face's frame."""
    kind = rng.uniform()
    if kind < 0.4:
        return blob(rng, np.array([[rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 1.5)]]), rng.uniform(0.7, 1.6))
    edge = rng.uniform(-0.2, 1.0)
    box = np.array([[-9.0, edge], [9.0, edge], [9.0, 9.0], [-9.0, 9.0]])
    if kind < 0.65:
        return box
    if kind < 0.85:
        return box * [1.0, -1.0] + [0.0, 1.0]
    return box * [1.0, 9.0] - [0.0, 40.0]
