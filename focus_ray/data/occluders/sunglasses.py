"""Sunglasses: lenses that hide the eyes, dark, mirrored or coloured, from small and round to a visor's size."""

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    fill_polygons,
    overlay,
    random_colour,
    solid_canvas,
)
from focus_ray.data.occluders.glasses import frame_colour, frame_mask, lens_outlines


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw opaque lenses with a vertical gradient and a soft reflection."""
    frame = FaceFrame.from_landmarks(landmarks)
    lenses = lens_outlines(rng, frame, landmarks, rng.uniform(0.37, 0.5))
    rim = frame_mask(size, frame, landmarks, lenses, width=rng.uniform(0.04, 0.14) * frame.unit)
    glass = fill_polygons(size, *lenses)
    tone = random_colour(rng) * rng.uniform(0.4, 1.0) if rng.uniform() < 0.35 else rng.uniform(0.02, 0.2, 3)
    ramp = np.linspace(rng.uniform(0.6, 1.2), rng.uniform(0.8, 1.6), size, dtype=np.float32)[:, None, None]
    rgb = solid_canvas(size, tone) * ramp + _reflection(rng, size, frame)
    return OccluderLayer(add_light_gradient(rng, overlay(rgb, rim, frame_colour(rng))), np.maximum(rim, glass))


def _reflection(rng: Generator, size: int, frame: FaceFrame) -> np.ndarray:
    """Soft bright spots, the same on both lenses, [H,W,1]."""
    shine = np.zeros((size, size), np.float32)
    offset = np.array([[rng.uniform(-0.15, 0.15), rng.uniform(-0.2, 0.05)]])
    for side in (-0.5, 0.5):
        spot = frame.to_pixels(offset + np.array([[side, 0.0]]))[0]
        centre = (round(float(spot[0])), round(float(spot[1])))
        cv2.circle(shine, centre, max(round(frame.unit * 0.1), 1), 1.0, -1)
    shine = cv2.GaussianBlur(shine, (0, 0), 0.06 * frame.unit + 0.5)
    return np.float32(rng.uniform(0, 0.7)) * shine[..., None]
