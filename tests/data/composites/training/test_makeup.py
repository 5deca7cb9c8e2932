"""Make-up changes some of the face, a little, and nothing elsewhere."""

import numpy as np

from focus_ray.data.composites.training.makeup import draw_makeup
from tests.data.composites.photographs import astronaut

PHOTO = astronaut()


def test_makeup_is_none_or_changes_a_part_of_the_face_a_little():
    drawn = [draw_makeup(np.random.default_rng(seed), (260, 230), PHOTO.landmarks) for seed in range(40)]
    factors = [factor for factor in drawn if factor is not None]
    assert 10 < len(factors) < 38
    for factor in factors:
        assert factor.shape == (260, 230, 3)
        assert 0.2 < factor.min() <= factor.max() < 1.2
        assert 0.85 < factor.mean() < 1.05
