"""Flat things that cover up to half of the face: a book, a phone, a plate, a sheet, a fan, with letters or patterns."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.training.relief import draw_folds, light_relief
from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    draw_lines,
    ellipse,
    fill_polygons,
    overlay,
    random_colour,
    rotation_matrix,
    shade_edges,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a box or a disc whose edge runs through the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    turn, way = rng.normal(0, 0.25), _direction(rng)
    disc, radii = rng.uniform() < 0.25, rng.uniform(0.7, 1.7, 2)
    if disc:
        radii[:] = radii.max()
    reach = float(np.abs(np.array(way) @ rotation_matrix(turn)) @ radii)  # from the middle to the edge in the face
    middle = np.array([[0.0, 0.5]]) + np.array([way]) * (reach + rng.uniform(-0.7, 0.6))
    outline = ellipse(middle, (radii[0], radii[1]), turn, 2.0 if disc else rng.choice([8.0, 20.0, 60.0]))
    if not disc:
        outline = _corners(middle, radii, turn) if rng.uniform() < 0.6 else outline
        outline = outline + (outline - middle) * ((outline - middle) @ rng.normal(0, 0.06, (2, 1)))  # seen at an angle
    alpha = fill_polygons(size, frame.to_pixels(outline))
    rgb = _surface(rng, size, frame)
    for _ in range(int(rng.integers(0, 3))):
        rgb = _decorate(rng, rgb, frame, middle, radii, turn)
    rgb = shade_edges(rgb, alpha, rng.uniform(0.03, 0.3) * frame.unit, rng.uniform(0.0, 0.3))
    return OccluderLayer(np.clip(add_light_gradient(rng, rgb), 0, 1), alpha)


def _direction(rng: Generator) -> tuple[float, float]:
    """From the face's middle to the thing's: below, to one side, above."""
    kind = rng.uniform()
    if kind < 0.45:
        return 0.0, 1.0
    if kind < 0.85:
        return float(rng.choice([-1.0, 1.0])), 0.0
    return 0.0, -1.0


def _corners(middle: Points, radii: np.ndarray, turn: float) -> Points:
    return middle + (np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * radii) @ rotation_matrix(turn)


def _surface(rng: Generator, size: int, frame: FaceFrame) -> Image:
    """Cloth, paper or a shiny cover."""
    base = np.full(3, rng.uniform(0.75, 1.0)) if rng.uniform() < 0.3 else None
    rgb = cloth(rng, size, base, 0.35)
    if rng.uniform() < 0.5:
        uneven = draw_folds(rng, size, frame.unit * rng.uniform(0.3, 1.0), frame.unit * 2, rng.uniform(0, np.pi))
        rgb = light_relief(rgb, uneven, rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.1))
    return rgb


def _decorate(rng: Generator, rgb: Image, frame: FaceFrame, middle: Points, radii: np.ndarray, turn: float) -> Image:
    """A frame, a picture, or lines of letters."""
    size, kind, colour = rgb.shape[0], rng.uniform(), random_colour(rng)
    if kind < 0.25:
        inner = frame.to_pixels(_corners(middle, radii * rng.uniform(0.75, 0.93), turn))
        return overlay(rgb, draw_lines(size, [inner], max(rng.uniform(0.02, 0.1) * frame.unit, 1.0), True), colour)
    if kind < 0.5:
        place = middle + rng.uniform(-0.4, 0.4, (1, 2)) * radii
        part = radii * rng.uniform(0.2, 0.5)
        outline = ellipse(place, (part[0], part[1]), turn, rng.choice([2.0, 20.0]))
        return overlay(rgb, fill_polygons(size, frame.to_pixels(outline)), cloth(rng, size))
    height = max(rng.uniform(0.08, 0.35), 5 / frame.unit)
    strokes = [frame.to_pixels(stroke) for stroke in _letters(rng, middle, radii, turn, height)]
    if not strokes:
        return rgb
    return overlay(rgb, draw_lines(size, strokes, max(rng.uniform(0.1, 0.25) * height * frame.unit, 1.0)), colour)


def _letters(rng: Generator, middle: Points, radii: np.ndarray, turn: float, height: float) -> list[Points]:
    """Strokes that look like lines of letters, in the face's frame."""
    rows = int(min(rng.integers(1, 9), max(1.4 * radii[1] / (1.6 * height), 1)))
    columns = int(np.clip(1.6 * radii[0] / (0.8 * height), 1, 24))
    first = rng.uniform(-0.8, 0.7) * radii[1]
    strokes = []
    for row in range(rows):
        for column in range(columns):
            if rng.uniform() < 0.2:
                continue
            place = np.array([-0.8 * radii[0] + 0.8 * height * column, first + 1.6 * height * row])
            if abs(place[1]) < 0.9 * radii[1]:
                letter = rng.integers(0, 3, (int(rng.integers(2, 5)), 2)) * [0.28, 0.5] * height
                strokes.append(middle + (place + letter) @ rotation_matrix(turn))
    return strokes
