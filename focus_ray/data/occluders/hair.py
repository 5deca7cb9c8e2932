"""Hair: a fringe over the forehead, strands down one side, or loose strands across the face."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.cloth import noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    OccluderLayer,
    Points,
    fill_polygons,
    random_colour,
    tinted_canvas,
)

_NATURAL = np.array([[0.05, 0.04, 0.03], [0.2, 0.12, 0.07], [0.4, 0.25, 0.12], [0.72, 0.58, 0.35], [0.55, 0.53, 0.5]])


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw tapering locks of one natural (or dyed) colour, streaked along their fall."""
    frame = FaceFrame.from_landmarks(landmarks)
    style = (_fringe, _side, _loose)[int(rng.integers(3))]
    locks = [frame.to_pixels(lock) for lock in style(rng)]
    return OccluderLayer(_streaks(rng, size, hair_colour(rng)), fill_polygons(size, *locks))


def hair_colour(rng: Generator) -> Colour:
    """Draw a hair colour: black, brown, blond, grey; rarely dyed.

    Args:
        rng: random generator.

    Returns:
        RGB in [0, 1].
    """
    if rng.uniform() < 0.12:
        return random_colour(rng)
    return np.clip(_NATURAL[int(rng.integers(len(_NATURAL)))] * rng.uniform(0.7, 1.25), 0, 1)


def _fringe(rng: Generator) -> list[Points]:
    """Many short locks that hang from above the forehead to the brows or the eyes."""
    reach, lean = rng.uniform(-0.65, 0.1), rng.uniform(-0.4, 0.4)
    roots = np.linspace(-1.5, 1.5, int(rng.integers(18, 30)))
    return [
        _lock(rng, np.array([x, -2.2]), np.array([x + lean + rng.normal(0, 0.1), reach + rng.normal(0, 0.15)]), 0.21)
        for x in roots
    ]


def _side(rng: Generator) -> list[Points]:
    """Long locks from the crown past one eye and cheek."""
    side, cover = rng.choice([-1.0, 1.0]), rng.uniform(0.45, 1.0)
    ends = np.linspace(cover, 1.7, int(rng.integers(8, 13)))
    return [
        _lock(rng, np.array([side * (end - 0.3), -2.2]), np.array([side * end, rng.uniform(1.4, 2.6)]), 0.2)
        for end in ends
    ]


def _loose(rng: Generator) -> list[Points]:
    """A few strands blown across the face."""
    count, side = int(rng.integers(6, 13)), rng.choice([-1.0, 1.0])
    return [
        _lock(
            rng,
            np.array([side * rng.uniform(-0.4, 1.3), -2.0]),
            np.array([side * rng.uniform(-1.2, 0.6), rng.uniform(0.4, 2.2)]),
            rng.uniform(0.06, 0.16),
        )
        for _ in range(count)
    ]


def _lock(rng: Generator, root: np.ndarray, tip: np.ndarray, width: float) -> Points:
    """A bent, tapering lock from root to tip, in face coordinates."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array([[-(tip - root)[1], (tip - root)[0]]]) / max(float(np.linalg.norm(tip - root)), 1e-6)
    spine = root + t * (tip - root) + across * rng.normal(0, 0.15) * np.sin(np.pi * t)
    taper = width * (1 - 0.85 * t**3)
    return np.concatenate([spine + across * taper, (spine - across * taper)[::-1]])


def _streaks(rng: Generator, size: int, colour: Colour) -> Image:
    """The colour with fine light and dark streaks."""
    fine = noise(rng, size, min(64, size), 1) * np.float32(rng.uniform(0.05, 0.2))
    coarse = noise(rng, size, 6, 1) * np.float32(rng.uniform(0.0, 0.15))
    return tinted_canvas(colour.astype(np.float32) + np.float32(0.03), np.clip(1 + fine + coarse, 0.2, 2.0)[..., 0])
