"""Folds are smooth noise, longer in one direction, and light falls on their slopes."""

import numpy as np
import pytest

from focus_ray.data.composites.training.relief import draw_folds, light_relief


def test_folds_run_along_their_direction():
    folds = draw_folds(np.random.default_rng(0), 200, 10.0, 60.0, 0.0)
    along, across = np.abs(np.diff(folds, axis=1)).mean(), np.abs(np.diff(folds, axis=0)).mean()
    assert across > 3 * along
    assert 0.3 < folds.std() < 1.5


def test_a_flat_surface_keeps_its_colour_and_a_slope_does_not():
    rgb = np.full((40, 40, 3), 0.5, np.float32)
    np.testing.assert_allclose(light_relief(rgb, np.zeros((40, 40), np.float32), 0.0, 0.2), rgb)
    height = draw_folds(np.random.default_rng(1), 40, 8.0, 8.0, 0.0)
    lit = light_relief(rgb, height, 0.0, 0.2)
    assert lit.std() > 0.02
    assert lit.mean() == pytest.approx(0.5, abs=0.05)
