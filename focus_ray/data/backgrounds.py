"""Backgrounds behind the face: scenery, and often a head, a neck and other skin around it."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.distribution_types import Fraction
from focus_ray.data.occluders.cloth import PATTERNS, cloth, noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    add_grain,
    add_light_gradient,
    blob,
    capsule,
    ellipse,
    fill_polygons,
    overlay,
    random_colour,
    random_skin_colour,
    rotation_matrix,
    shade_edges,
    solid_canvas,
    tinted_canvas,
)
from focus_ray.data.occluders.hair import hair_colour
from focus_ray.settings import Settings


class BackgroundDistributions(Settings):
    """Probabilities of parts of the background, chosen such that colour alone does not tell face from background."""

    head: Fraction = 0.5  # hair, ears, neck and shoulders around the face
    skin_wall: Fraction = 0.15  # the whole background in a skin colour
    own_skin: Fraction = 0.5  # of skin in the background: exactly the face's own colour
    decoy: Fraction = 0.25  # a piece of other skin beside the face, behind it


def draw_background(
    rng: Generator, size: int, landmarks: Landmarks, skin: Colour, distributions: BackgroundDistributions
) -> Image:
    """Draw a full canvas behind a face.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        landmarks: landmarks of the face, px of the canvas.
        skin: mean RGB colour of the face, in [0, 1].
        distributions: probabilities of the parts.

    Returns:
        The background, RGB, about [0, 1].
    """
    frame = FaceFrame.from_landmarks(landmarks)
    if rng.uniform() < distributions.skin_wall:
        rgb = _skin_wall(rng, size, random_skin_colour(rng, skin, distributions.own_skin))
    else:
        rgb = KINDS[int(rng.integers(len(KINDS)))](rng, size)
    if rng.uniform() < distributions.decoy:
        rgb = _decoy(rng, rgb, frame, random_skin_colour(rng, skin, distributions.own_skin))
    if rng.uniform() < distributions.head:
        rgb = _head(rng, rgb, frame, landmarks, skin)
    return rgb


def _even(rng: Generator, size: int) -> Image:
    """One colour, lit from a side."""
    return add_light_gradient(rng, solid_canvas(size, random_colour(rng)), 0.5)


def _gradient(rng: Generator, size: int) -> Image:
    """Four corner colours."""
    corners = np.stack([random_colour(rng) for _ in range(4)]).reshape(2, 2, 3).astype(np.float32)
    return cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)


def _noise(rng: Generator, size: int) -> Image:
    """Coloured noise, from clouds to grain."""
    fine = noise(rng, size, int(rng.integers(3, 40))) * np.float32(rng.uniform(0.05, 0.3))
    return solid_canvas(size, random_colour(rng)) + fine


def _blobs(rng: Generator, size: int) -> Image:
    """Discs of many colours, as lights out of focus or a crowd."""
    rgb = solid_canvas(size, random_colour(rng))
    for _ in range(int(rng.integers(4, 12))):
        outline = ellipse(rng.uniform(0, size, (1, 2)), tuple(size * rng.uniform(0.04, 0.25, 2)), rng.uniform(0, np.pi))
        rgb = overlay(rgb, fill_polygons(size, outline), random_colour(rng))
    return rgb


def _pattern(rng: Generator, size: int) -> Image:
    """Stripes, checks, mottles or dots."""
    return PATTERNS[int(rng.integers(len(PATTERNS)))](rng, size, random_colour(rng), random_colour(rng))


def _room(rng: Generator, size: int) -> Image:
    """Rectangles behind each other, out of focus: walls, windows, furniture."""
    rgb = _gradient(rng, size)
    for _ in range(int(rng.integers(3, 8))):
        x, y, wide, tall = size * rng.uniform([-0.2, -0.2, 0.1, 0.1], [1, 1, 0.7, 0.8])
        corners = np.array([[x, y], [x + wide, y], [x + wide, y + tall], [x, y + tall]])
        rgb = overlay(rgb, fill_polygons(size, corners @ rotation_matrix(rng.normal(0, 0.05))), random_colour(rng))
    return cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 4) * size / 128)


KINDS: tuple[Callable[[Generator, int], Image], ...] = (_even, _gradient, _noise, _blobs, _pattern, _room)
"""The kinds of scenery without skin, equally likely."""


def _skin_wall(rng: Generator, size: int, skin: Colour) -> Image:
    """Skin colour all over, with soft and fine variation."""
    soft = noise(rng, size, 4) * np.float32(rng.uniform(0, 0.06))
    soft = add_grain(soft, noise(rng, size, 32, 1)[..., 0], 0.015)
    return add_light_gradient(rng, solid_canvas(size, skin) + soft, 0.5)


def _decoy(rng: Generator, rgb: Image, frame: FaceFrame, skin: Colour) -> Image:
    """A round piece of skin at the edge of the face: a hand, an arm or another person."""
    turn, size = rng.uniform(0, 2 * np.pi), len(rgb)
    centre = frame.to_pixels(np.array([[1.6 * np.cos(turn), 0.4 + 1.9 * np.sin(turn)]]))
    radius = frame.unit * rng.uniform(0.4, 0.9)
    mask = fill_polygons(size, blob(rng, centre, radius))
    return overlay(
        rgb,
        mask,
        shade_edges(add_light_gradient(rng, solid_canvas(size, skin)), mask, 0.5 * radius, rng.uniform(0.1, 0.4)),
    )


def _head(rng: Generator, rgb: Image, frame: FaceFrame, landmarks: Landmarks, skin: Colour) -> Image:
    """Hair around the face (or none), ears, a neck in shade, and clothes."""
    size = len(rgb)
    neck = fill_polygons(
        size,
        capsule(
            frame.to_pixels(np.array([[0.0, 1.2]])), frame.to_pixels(np.array([[0.0, 4.0]])), *[0.85 * frame.unit] * 2
        ),
    )
    shade = rng.uniform(0.55, 0.95)
    hair = ellipse(
        frame.to_pixels(np.array([[0.0, -0.1]])), (frame.unit * rng.uniform(1.3, 1.75), frame.unit * 1.75), frame.angle
    )
    long_hair = ellipse(
        frame.to_pixels(np.array([[0.0, 0.9]])), (frame.unit * rng.uniform(1.4, 1.9), frame.unit * 2.4), frame.angle
    )
    if rng.uniform() < 0.8:
        colour, amount = hair_colour(rng), np.float32(rng.uniform(0.03, 0.12))
        streaks = tinted_canvas(colour, 1 + amount * noise(rng, size, 40, 1)[..., 0])
        rgb = overlay(rgb, fill_polygons(size, long_hair if rng.uniform() < 0.35 else hair), streaks)
    rgb = overlay(rgb, neck, add_light_gradient(rng, solid_canvas(size, skin * shade)))
    for ear in (landmarks[1:2], landmarks[15:16]):
        outline = ellipse(ear, (0.18 * frame.unit, 0.36 * frame.unit), frame.angle)
        rgb = overlay(rgb, fill_polygons(size, outline), skin * rng.uniform(0.7, 1.0))
    clothes = frame.to_pixels(
        np.array([[-0.9, 2.5], [0, 3.0], [0.9, 2.5], [4.0, 3.4], [4.0, 8.0], [-4.0, 8.0], [-4.0, 3.4]])
    )
    return overlay(rgb, fill_polygons(size, clothes), cloth(rng, size, patterned=0.4))
