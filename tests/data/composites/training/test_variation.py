"""Photographs are changed often, not always, and the same chance changes them the same."""

import numpy as np

from focus_ray.data.composites.training.variation import vary_photo
from tests.data.composites.photographs import astronaut

PHOTO = astronaut()


def test_about_a_third_stay_as_they_are_and_the_others_stay_pictures_of_the_same_face():
    same, likeness = 0, []
    for seed in range(120):
        changed = vary_photo(np.random.default_rng(seed), *PHOTO)
        assert changed.shape == PHOTO.rgb.shape
        assert changed.dtype == np.uint8
        same += np.array_equal(changed, PHOTO.rgb)
        likeness.append(np.corrcoef(changed.mean(axis=2).ravel(), PHOTO.rgb.mean(axis=2).ravel())[0, 1])
    assert 0.2 < same / 120 < 0.5
    assert np.median(likeness) > 0.9


def test_the_same_chance_makes_the_same_change_and_the_photograph_is_kept():
    before = PHOTO.rgb.copy()
    for seed in range(8):
        first, second = (vary_photo(np.random.default_rng(seed), *PHOTO) for _ in range(2))
        assert np.array_equal(first, second)
    assert np.array_equal(PHOTO.rgb, before)
