"""Surfaces for occluders and backgrounds: plain, stripes, checks, noise and dots, from fine to coarse."""

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from focus_ray.data.occluders import pixels
from focus_ray.data.occluders.drawing import Colour, Image, Mask, add_grain, random_colour, solid_canvas


def noise(rng: Generator, size: int, cells: int, channels: int = 3) -> Float[np.ndarray, "H W C"]:
    """Draw smooth noise of unit standard deviation at its knots.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        cells: number of knots along a side.
        channels: number of channels.

    Returns:
        Noise of mean 0.
    """
    knots = rng.standard_normal((cells, cells, channels), dtype=np.float32)
    return cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, channels)


def wave(rng: Generator, size: int) -> Mask:
    """Draw a sine over the canvas in a random direction, period from a 30th to a quarter of the side.

    Args:
        rng: random generator.
        size: side of the canvas, px.

    Returns:
        Values in [-1, 1].
    """
    turn, period = rng.uniform(0, np.pi), size * rng.uniform(0.035, 0.25)
    ramp = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi / period)
    phase = np.float32(rng.uniform(0, 2 * np.pi))
    return np.sin(np.float32(np.cos(turn)) * ramp + np.float32(np.sin(turn)) * ramp[:, None] + phase)


def stripes(rng: Generator, size: int, first: Colour, second: Colour) -> Image:
    """Draw stripes of two colours.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        first: RGB.
        second: RGB.

    Returns:
        RGB.
    """
    return _mix(first, second, np.clip(0.5 + 4 * wave(rng, size), 0, 1))


def checks(rng: Generator, size: int, first: Colour, second: Colour) -> Image:
    """Draw two crossed waves of two colours: checks, squares and tartan.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        first: RGB.
        second: RGB.

    Returns:
        RGB.
    """
    return _mix(first, second, np.clip(0.5 + 4 * wave(rng, size) * wave(rng, size), 0, 1))


def mottled(rng: Generator, size: int, first: Colour, second: Colour) -> Image:
    """Draw two colours mixed by noise.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        first: RGB.
        second: RGB.

    Returns:
        RGB.
    """
    return _mix(first, second, np.clip(0.5 + 0.6 * noise(rng, size, int(rng.integers(5, 40)), 1)[..., 0], 0, 1))


def dots(rng: Generator, size: int, first: Colour, second: Colour) -> Image:
    """Draw a field of dots or a weave of two colours.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        first: RGB.
        second: RGB.

    Returns:
        RGB.
    """
    return _mix(first, second, np.clip(2.5 * (wave(rng, size) + wave(rng, size) - 0.8), 0, 1))


PATTERNS = (stripes, checks, mottled, dots)


def cloth(rng: Generator, size: int, base: Colour | None = None, patterned: float = 0.6) -> Image:
    """Draw a plain or patterned surface with a little grain.

    Args:
        rng: random generator.
        size: side of the canvas, px.
        base: RGB of the plain surface; None means a random colour.
        patterned: probability of a pattern with a second colour.

    Returns:
        RGB, about [0, 1].
    """
    first = random_colour(rng) if base is None else base
    if rng.uniform() < patterned:
        pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
        rgb = pattern(rng, size, first, random_colour(rng))
    else:
        rgb = solid_canvas(size, first)
    amount = rng.uniform(0, 0.05)
    return add_grain(rgb, noise(rng, size, 24, 1)[..., 0], amount)


def _mix(first: Colour, second: Colour, weight: Mask) -> Image:
    return pixels.mix(
        np.ascontiguousarray(first, np.float32),
        np.ascontiguousarray(second, np.float32),
        np.ascontiguousarray(weight, np.float32),
    )
