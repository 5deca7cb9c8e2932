"""Light is a positive factor of the photograph's size, with shadows of any place."""

import numpy as np

from focus_ray.data.composites.training.lighting import draw_light
from tests.data.composites.photographs import astronaut

PHOTO = astronaut()


def test_light_is_none_or_a_positive_factor_for_each_pixel_and_channel():
    drawn = [draw_light(np.random.default_rng(seed), (260, 230), PHOTO.landmarks) for seed in range(40)]
    factors = [factor for factor in drawn if factor is not None]
    assert 20 < len(factors) < 40
    for factor in factors:
        assert factor.shape == (260, 230, 3)
        assert factor.dtype == np.float32
        assert factor.min() > 0.02
        assert factor.max() < 4
    assert sum(factor.std() > 0.1 for factor in factors) > 10
