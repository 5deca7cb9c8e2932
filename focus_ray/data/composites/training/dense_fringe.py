"""Dense fringes: hair down to the brows or the eyes, in streaks that follow its fall, with single tips."""

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.outlines import family_outline
from focus_ray.data.composites.training.relief import draw_folds
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    Mask,
    OccluderLayer,
    fill_polygons,
    solid_canvas,
)
from focus_ray.data.occluders.hair import hair_colour


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a closed fringe from above the head, sometimes with hair on both sides of the face."""
    frame = FaceFrame.from_landmarks(landmarks)
    reach, lean = rng.uniform(-0.6, 0.2), rng.normal(0, 0.35)
    parted = rng.uniform(-0.8, 0.8) if rng.uniform() < 0.3 else None
    locks = []
    for x in np.linspace(-1.45, 1.45, int(rng.integers(26, 48))):
        tip_y = reach + rng.normal(0, 0.09) + (0.9 if rng.uniform() < 0.5 else 0.35) * max(abs(x) - 0.8, 0)
        if parted is not None:
            tip_y -= max(0.8 - abs(x - parted), 0)
        root, tip = np.array([0.7 * x, -2.3]), np.array([x + lean * (tip_y + 2.3) / 2, tip_y])
        locks.append(frame.to_pixels(_lock(rng, root, tip, rng.uniform(0.07, 0.13))))
    if rng.uniform() < 0.5:
        locks += [frame.to_pixels(_curtain(rng, side)) for side in (-1.0, 1.0)]
    alpha = fill_polygons(size, *locks)
    outline = family_outline("hair", landmarks, size)
    alpha = alpha if outline is None else alpha * outline
    alpha = np.clip(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.3, 0.9)), 0, 1)
    return OccluderLayer(_streaks(rng, size, frame, lean), alpha)


def _lock(rng: Generator, root: np.ndarray, tip: np.ndarray, width: float) -> np.ndarray:
    """A bent lock with a pointed end."""
    t = np.linspace(0, 1, 10)[:, None]
    spine = root + t * (tip - root) + np.sin(np.pi * t) * [rng.normal(0, 0.05), 0.0]
    half = width * (1 - t**6) * [1.0, 0.0]
    return np.concatenate([spine - half, (spine + half)[::-1]])


def _curtain(rng: Generator, side: float) -> np.ndarray:
    """Hair that falls past one cheek."""
    inner, y = rng.uniform(0.75, 1.15), np.linspace(-2.2, rng.uniform(1.0, 3.5), 14)
    wave = 0.05 * np.sin(rng.uniform(1, 4) * y + rng.uniform(0, 6))
    x = inner + wave - 0.25 * np.clip(-y - 0.6, 0, 2)
    return np.concatenate([np.stack([side * x, y], 1), np.stack([side * (x + 0.9), y], 1)[::-1]])


def _streaks(rng: Generator, size: int, frame: FaceFrame, lean: float) -> np.ndarray:
    """Streaks along the fall, a shine across it, and roots that are darker."""
    angle = frame.angle + np.pi / 2 - 0.5 * lean
    factor: Mask = np.ones((size, size), np.float32)
    for width, depth in ((0.035, 0.16), (0.12, 0.14)):
        streak = draw_folds(rng, size, max(width * frame.unit, 1.5), 1.5 * frame.unit, angle)
        factor = factor + np.float32(depth * rng.uniform(0.5, 1.3)) * streak
    across = (np.arange(size, dtype=np.float32) - np.float32(frame.origin[0, 1])) / np.float32(frame.unit)
    place, width = rng.uniform(-1.4, -0.5), rng.uniform(0.15, 0.5)
    shine = np.float32(rng.uniform(0, 0.6)) * np.exp(-(((across - place) / width) ** 2))
    factor = np.clip(factor * (1 + shine[:, None]), 0.15, 2.2)
    return np.clip(solid_canvas(size, hair_colour(rng) + 0.02) * factor[..., None], 0, 1)
