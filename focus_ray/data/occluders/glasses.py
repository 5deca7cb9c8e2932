"""Glasses: rims of many shapes around the two eyes, a bridge, temples, and transparent lenses."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    Mask,
    OccluderLayer,
    Points,
    add_light_gradient,
    draw_lines,
    ellipse,
    fill_polygons,
    overlay,
    random_colour,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw thick rims with clear lenses, slightly tinted, sometimes with the glare of a window on them."""
    frame = FaceFrame.from_landmarks(landmarks)
    lenses = lens_outlines(rng, frame, landmarks, rng.uniform(0.36, 0.46))
    rim = frame_mask(size, frame, landmarks, lenses, width=rng.uniform(0.09, 0.2) * frame.unit)
    glass = fill_polygons(size, *lenses)
    tint = np.float32(rng.uniform(0.02, 0.3)) * glass
    if rng.uniform() < 0.5:
        tint = np.maximum(tint, np.float32(0.85) * glass * _glare(rng, size, frame, lenses))
    rgb = overlay(solid_canvas(size, rng.uniform(0.6, 1.0, 3)), rim, frame_colour(rng))
    return OccluderLayer(add_light_gradient(rng, rgb), np.maximum(rim, tint))


def lens_outlines(rng: Generator, frame: FaceFrame, landmarks: Landmarks, radius: float) -> list[Points]:
    """Draw two lens outlines of one shape around the eye centres, from round to nearly rectangular.

    Args:
        rng: random generator.
        frame: frame of the face.
        landmarks: landmarks of the face, px.
        radius: horizontal half axis, in units of the frame.

    Returns:
        Outlines at the right and the left eye, px.
    """
    radii = (radius * frame.unit, radius * frame.unit * rng.uniform(0.68, 1.0))
    power, drop = rng.choice([2.0, 2.6, 4.0, 7.0]), rng.uniform(0.0, 0.12)
    outlines = []
    for eye in (landmarks[36:42], landmarks[42:48]):
        centre = eye.mean(0, keepdims=True) + frame.unit * drop * frame.axes[1]
        outlines.append(ellipse(centre, radii, frame.angle, power))
    return outlines


def frame_mask(size: int, frame: FaceFrame, landmarks: Landmarks, lenses: list[Points], width: float) -> Mask:
    """Draw rims, bridge and the temples that run back to the ears.

    Args:
        size: side of the canvas, px.
        frame: frame of the face.
        landmarks: landmarks of the face, px.
        lenses: outlines of the lenses, px.
        width: width of the rims, px.

    Returns:
        Coverage in [0, 1].
    """
    centres = [lens.mean(0) for lens in lenses]
    reach = [float(np.ptp(lens @ frame.axes[0])) / 2 for lens in lenses]
    inner = [centres[0] + reach[0] * frame.axes[0], centres[1] - reach[1] * frame.axes[0]]
    outer = [centres[0] - reach[0] * frame.axes[0], centres[1] + reach[1] * frame.axes[0]]
    temples = [np.stack([outer[0], landmarks[0]]), np.stack([outer[1], landmarks[16]])]
    rims = draw_lines(size, lenses, width, closed=True)
    return np.maximum(rims, draw_lines(size, [np.stack(inner), *temples], 0.8 * width))


def frame_colour(rng: Generator) -> Colour:
    """Draw the colour of a frame: mostly dark or metal, sometimes bright.

    Args:
        rng: random generator.

    Returns:
        RGB in [0, 1].
    """
    if rng.uniform() < 0.6:
        return rng.uniform(0.02, 0.3) + rng.uniform(0, 0.08, 3)
    return random_colour(rng)


def _glare(rng: Generator, size: int, frame: FaceFrame, lenses: list[Points]) -> Mask:
    """A slanted bright band across each lens."""
    slant = np.array([1.0, -rng.uniform(0.6, 1.6)]) @ frame.axes * frame.unit
    lines = [lens.mean(0) + slant * np.array([[-0.5], [0.5]]) for lens in lenses]
    return draw_lines(size, lines, rng.uniform(0.1, 0.4) * frame.unit)
