"""Cups: a mug, a glass or a bottle held before mouth and chin, with a handle or a band."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    OccluderLayer,
    Points,
    composite,
    draw_lines,
    ellipse,
    fill_polygons,
    overlay,
    random_colour,
    rotation_matrix,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a tapered cylinder with its rim at the mouth, turned a little."""
    frame = FaceFrame.from_landmarks(landmarks)
    mouth = landmarks[48:60].mean(0, keepdims=True) + frame.unit * rng.normal(0, 0.15, (1, 2))
    wide, tall = frame.unit * rng.uniform(0.42, 0.7), frame.unit * rng.uniform(1.0, 1.8)
    turn, taper = rotation_matrix(frame.angle + rng.normal(0, 0.3)), rng.uniform(0.65, 1.0)
    lift = rng.uniform(0.2, 0.6) * frame.unit
    body = np.array([[-wide, -lift], [wide, -lift], [wide * taper, tall], [-wide * taper, tall]])
    rim = ellipse(np.array([[0.0, -lift]]), (wide, 0.25 * wide))
    rgb = _cylinder(size, mouth, turn, wide) * _surface(rng, size)
    alpha = np.maximum(fill_polygons(size, mouth + body @ turn), fill_polygons(size, mouth + rim @ turn))
    rgb = overlay(rgb, fill_polygons(size, mouth + rim @ turn), random_colour(rng) * 0.7)
    layer = OccluderLayer(rgb, alpha)
    if rng.uniform() < 0.6:
        layer = composite(_handle(rng, size, mouth, turn, wide, tall), layer)
    return layer


def _surface(rng: Generator, size: int) -> Image:
    return cloth(rng, size, patterned=0.4)


def _cylinder(size: int, centre: Points, turn: np.ndarray, wide: float) -> Image:
    """Light from the front: full in the middle, dim at the edges of the cylinder."""
    grid = np.arange(size, dtype=np.float32)
    x, y = grid - np.float32(centre[0, 0]), grid[:, None] - np.float32(centre[0, 1])
    across = (x * np.float32(turn[0, 0]) + y * np.float32(turn[0, 1])) / np.float32(wide)
    return (0.5 + 0.55 * np.sqrt(np.clip(1 - across**2, 0, 1)))[..., None].repeat(3, axis=2).astype(np.float32)


def _handle(rng: Generator, size: int, mouth: Points, turn: np.ndarray, wide: float, tall: float) -> OccluderLayer:
    side = rng.choice([-1.0, 1.0])
    ring = ellipse(np.array([[side * wide, 0.4 * tall]]), (0.45 * wide, 0.35 * tall))
    return OccluderLayer(
        solid_canvas(size, random_colour(rng)), draw_lines(size, [mouth + ring @ turn], 0.22 * wide, closed=True)
    )
