"""Blur, noise and light are those that were put into a picture."""

import cv2
import numpy as np
import pytest

from focus_ray.data.composites.photo_properties import estimate_blur, estimate_noise, estimate_properties
from tests.data.composites.photographs import astronaut

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def discs() -> np.ndarray:
    """Sharp edges in all directions."""
    picture = np.zeros((200, 200), np.float32)
    for _ in range(25):
        x, y, radius = RNG.integers(0, 200), RNG.integers(0, 200), RNG.integers(10, 40)
        cv2.circle(picture, (int(x), int(y)), int(radius), float(RNG.uniform(0.2, 0.9)), -1)
    return picture


@pytest.mark.parametrize("sigma", [0.8, 1.2, 2.0, 3.0])
def test_blur_is_measured_at_edges(discs: np.ndarray, sigma: float):
    everywhere = np.ones(discs.shape, dtype=bool)
    assert estimate_blur(cv2.GaussianBlur(discs, (0, 0), sigma), everywhere) == pytest.approx(sigma, rel=0.12)


@pytest.mark.parametrize("sigma", [0.005, 0.03])
def test_noise_is_measured_beside_edges(discs: np.ndarray, sigma: float):
    noisy = discs + RNG.normal(0, sigma, discs.shape).astype(np.float32)
    assert estimate_noise(noisy, np.ones(discs.shape, dtype=bool)) == pytest.approx(sigma, rel=0.12)


def test_a_picture_without_edges_has_the_least_blur():
    flat = np.full((50, 50), 0.5, np.float32)
    assert estimate_blur(flat, np.ones(flat.shape, dtype=bool)) == 0.5
    assert estimate_noise(flat, np.ones(flat.shape, dtype=bool)) == 0


def test_a_black_and_white_photograph_makes_occluders_grey():
    photo = astronaut()
    grey = np.repeat(cv2.cvtColor(photo.rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    colourful = np.zeros((*grey.shape[:2], 3), np.float32) + np.float32([0.8, 0.2, 0.1])
    lit = estimate_properties(grey, photo.landmarks).light_occluder(colourful)
    assert np.ptp(lit, axis=2).max() < 0.01
    lit = estimate_properties(photo.rgb, photo.landmarks).light_occluder(colourful)
    assert np.ptp(lit, axis=2).min() > 0.2


def test_a_darker_photograph_darkens_occluders_and_its_skin_keeps_its_own_colour():
    photo = astronaut()
    white = np.ones((*photo.rgb.shape[:2], 3), np.float32)
    middle = tuple(np.rint(photo.landmarks.mean(axis=0)).astype(int)[::-1])
    brightness = []
    for factor in (1.0, 0.5):
        dimmed = (photo.rgb * factor).astype(np.uint8)
        properties = estimate_properties(dimmed, photo.landmarks)
        brightness.append(float(properties.light_occluder(white)[middle].mean()))
        seen = properties.light_occluder(np.zeros_like(white) + properties.skin.astype(np.float32))[middle]
        assert seen == pytest.approx(properties.skin * properties.light, abs=0.02)
    assert brightness[1] == pytest.approx(0.5 * brightness[0], rel=0.1)


def test_light_from_the_right_falls_on_the_right_of_an_occluder():
    photo = astronaut()
    width = photo.rgb.shape[1]
    ramp = np.exp(np.linspace(-0.8, 0.8, width))[:, None]
    slanted = np.clip(photo.rgb * 0.5 * ramp, 0, 255).astype(np.uint8)
    x, y = np.rint(photo.landmarks.mean(axis=0)).astype(int)
    white = np.full((*photo.rgb.shape[:2], 3), 0.5, np.float32)
    before, after = (estimate_properties(one, photo.landmarks).light_occluder(white) for one in (photo.rgb, slanted))
    assert after[y, x + 25, 1] / after[y, x - 25, 1] > 1.2 * before[y, x + 25, 1] / before[y, x - 25, 1]
