"""What a camera and a file do to a photograph: white balance, gamma, contrast, grey, blur, noise, JPEG."""

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator

from focus_ray.data.occluders import pixels

Photo = UInt8[np.ndarray, "H W 3"]

_TONES, _GREY, _BLUR, _NOISE, _JPEG = 0.6, 0.1, 0.3, 0.3, 0.3  # probabilities
_LEVELS = np.linspace(0, 1, 256)


def apply_camera(rng: Generator, rgb: Photo, unit: float) -> Photo:
    """Apply some of a camera's effects.

    Args:
        rng: random generator.
        rgb: photograph.
        unit: distance between the eyes [px], which blur is measured by.

    Returns:
        The changed photograph, or the same one.
    """
    chosen = rng.uniform(size=5) < [_TONES, _GREY, _BLUR, _NOISE, _JPEG]
    if chosen[1]:
        rgb = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if chosen[0]:
        rgb = _change_tones(rng, rgb, 0.03 if chosen[1] else 0.12)
    if chosen[2]:
        rgb = _blur(rng, rgb, unit)
    if chosen[3]:
        rgb = _add_noise(rng, rgb)
    return _compress(rng, rgb) if chosen[4] else rgb


def _change_tones(rng: Generator, rgb: Photo, tint: float) -> Photo:
    """White balance, gamma and contrast as one table of 256 levels for each channel."""
    gamma = np.exp(rng.normal(0, 0.22))
    contrast, pivot = np.exp(rng.normal(0, 0.2)), rng.uniform(0.3, 0.6)
    gain = np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, tint, 3))
    levels = pivot + contrast * (_LEVELS[:, None] * gain - pivot)
    table = np.clip(levels, 0, 1) ** gamma * 255 + 0.5
    return cv2.LUT(rgb, table.astype(np.uint8)[None])


def _blur(rng: Generator, rgb: Photo, unit: float) -> Photo:
    """Out of focus, moved, or enlarged from fewer pixels."""
    kind, extent = rng.uniform(), unit * np.exp(rng.uniform(np.log(0.008), np.log(0.05)))
    if kind < 0.5:
        return cv2.GaussianBlur(rgb, (0, 0), max(extent, 0.4))
    height, width = rgb.shape[:2]
    if kind < 0.8:
        zoom = 1 / max(2 * extent, 1.3)
        small = (max(8, round(width * zoom)), max(8, round(height * zoom)))
        method = cv2.INTER_LINEAR if rng.uniform() < 0.5 else cv2.INTER_CUBIC
        return cv2.resize(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=method)
    side = 2 * max(1, round(1.5 * extent)) + 1
    turn, half = rng.uniform(0, np.pi), (side - 1) / 2
    kernel = np.zeros((side, side), np.float32)
    way = half * np.array([np.cos(turn), np.sin(turn)])
    ends = [tuple(int(v) for v in np.rint(half + sign * way)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(rgb, -1, kernel / kernel.sum())


def _add_noise(rng: Generator, rgb: Photo) -> Photo:
    """Noise of single pixels or of larger grains, coloured or grey."""
    height, width = rgb.shape[:2]
    channels = 3 if rng.uniform() < 0.5 else 1
    grain = rng.choice([1, 1, 2])
    cells = (height + grain - 1) // grain, (width + grain - 1) // grain
    values = rng.standard_normal((*cells, channels), dtype=np.float32)
    if grain > 1:
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)
    amount = np.float32(np.exp(rng.uniform(np.log(0.005), np.log(0.05))))
    noise = np.ascontiguousarray(np.broadcast_to(values, rgb.shape))
    return pixels.to_8_bits(rgb.astype(np.float32) * np.float32(1 / 255), noise, amount)


def _compress(rng: Generator, rgb: Photo) -> Photo:
    """JPEG at a low or middling quality."""
    quality = int(rng.integers(15, 85))
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        return rgb
    return cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
