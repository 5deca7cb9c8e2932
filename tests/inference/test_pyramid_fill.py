"""Smooth continuation: what is known stays, what is not known lies between what is known around it."""

import numpy as np

from focus_ray.inference.pyramid_fill import fill


def test_known_pixels_stay_and_others_are_between_them():
    values = np.zeros((64, 64, 3), np.float32)
    values[:, :32], values[:, 32:] = (0.2, 0.4, 0.6), (0.8, 0.4, 0.1)
    weights = np.ones((64, 64), np.float32)
    weights[:, 20:44] = 0
    values[:, 20:44] = 99.0
    found = fill(values, weights)
    np.testing.assert_allclose(found[weights == 1], values[weights == 1], atol=1e-6)
    assert found.min() >= 0.09
    assert found.max() <= 0.81
    across = found[32, :, 0]
    assert (np.diff(across) > -1e-3).all()
    assert np.abs(np.diff(across)).max() < 0.15


def test_half_a_weight_is_half_of_what_is_around():
    values, weights = np.full((32, 32, 3), 1.0, np.float32), np.ones((32, 32), np.float32)
    values[16, 16], weights[16, 16] = 3.0, 0.5
    assert 1.9 < fill(values, weights)[16, 16, 0] < 2.4


def test_nothing_known_is_zero():
    assert not fill(np.ones((16, 16, 3), np.float32), np.zeros((16, 16), np.float32)).any()
