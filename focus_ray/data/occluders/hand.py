"""Hands: a palm with fingers reaching over the face, in the face's own skin colour or another, with a wrist."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    capsule,
    composite,
    ellipse,
    fill_polygons,
    random_skin_colour,
    rotation_matrix,
    shade_edges,
    solid_canvas,
)

# Directions (rad, from the hand's axis), lengths and widths of thumb and fingers in units of the palm's radius.
_SPREAD = np.array([-1.05, -0.42, -0.13, 0.14, 0.42])
_LENGTH = np.array([1.35, 1.95, 2.15, 2.05, 1.7])
_WIDTH = np.array([0.27, 0.23, 0.24, 0.23, 0.2])


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a hand that comes from below or from the side and touches a point of the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    touch = frame.to_pixels(np.array([[rng.uniform(-0.5, 0.5), rng.uniform(0.1, 1.5)]]))
    radius = frame.unit * rng.uniform(0.38, 0.56)
    direction = rng.uniform(np.pi * 0.05, np.pi * 0.95)  # of the wrist from the hand: below or beside
    if rng.uniform() < 0.25:
        direction = -direction * 0.5
    outward = np.array([[np.cos(direction), np.sin(direction)]])
    palm = touch + outward * radius * rng.uniform(0.2, 1.3)
    return _shade(rng, size, _parts(rng, palm, outward, radius), radius, random_skin_colour(rng, skin, own=0.5))


def _parts(rng: Generator, palm: Points, outward: Points, radius: float) -> list[Points]:
    """Outlines from back to front: arm, palm, thumb and fingers; some fingers are bent or folded away."""
    axis = float(np.arctan2(-outward[0, 1], -outward[0, 0]))
    mirror, spread = rng.choice([-1.0, 1.0]), rng.uniform(0.6, 1.25)
    parts = [
        capsule(palm + 6 * radius * outward, palm + 0.5 * radius * outward, 0.85 * radius, 0.7 * radius),
        ellipse(palm, (radius * 1.05, radius * 0.95), axis, power=2.6),
    ]
    for angle, length, width in zip(_SPREAD, _LENGTH, _WIDTH, strict=True):
        if rng.uniform() < 0.12:
            continue
        turn = np.array([[1.0, 0.0]]) @ rotation_matrix(axis + mirror * spread * angle + rng.normal(0, 0.06))
        tip = palm + turn * radius * length * rng.uniform(0.8, 1.1)
        parts.append(capsule(palm + 0.7 * radius * turn, tip, width * radius * 1.15, width * radius * 0.85))
    return parts


def _shade(rng: Generator, size: int, parts: list[Points], radius: float, colour: Colour) -> OccluderLayer:
    """Shade each part as a round shape of its own, so that touching fingers stay distinct."""
    depth, layer = rng.uniform(0.15, 0.45), None
    for part in parts:
        alpha = fill_polygons(size, part)
        shaded = OccluderLayer(shade_edges(solid_canvas(size, colour), alpha, 0.3 * radius, depth), alpha)
        layer = shaded if layer is None else composite(layer, shaded)
    if layer is None:
        raise ValueError("a hand has at least an arm and a palm")
    return OccluderLayer(add_light_gradient(rng, layer.rgb), layer.alpha)
