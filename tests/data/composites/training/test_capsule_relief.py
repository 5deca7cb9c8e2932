"""Capsules have the height and the outline of round bodies, and light falls on the side towards it."""

import numpy as np
import pytest

from focus_ray.data.composites.training.capsule_relief import EMPTY, draw_capsules, light_surface


def draw_bar() -> tuple[np.ndarray, np.ndarray]:
    """A level bar of radius 10 from (20, 32) to (44, 32)."""
    starts, ends = np.array([[20.0, 32.0, 5.0]]), np.array([[44.0, 32.0, 5.0]])
    return draw_capsules(64, starts, ends, np.array([[10.0, 10.0]]), np.array([1]), np.float32(2))


def test_a_bar_is_as_high_as_its_radius_and_as_wide():
    height, cover = draw_bar()
    assert height[32, 32] == pytest.approx(15)
    assert height[26, 32] == pytest.approx(13)
    assert height[5, 5] == EMPTY
    assert cover.sum() == pytest.approx(24 * 20 + np.pi * 100, rel=0.01)


def test_the_side_towards_the_light_is_brighter():
    bright = light_surface(draw_bar()[0], np.array([0.0, -0.6, 0.8], np.float32), np.float32(0.2))
    assert bright[26, 32] > bright[32, 32] > bright[38, 32]
    assert bright[5, 5] == 0
