"""A camera's effects keep the size and the kind of a photograph."""

import numpy as np

from focus_ray.data.composites.training.camera_effects import apply_camera
from tests.data.composites.photographs import astronaut

PHOTO = astronaut()


def test_effects_are_chosen_by_chance_and_some_photographs_become_grey():
    grey, seen = 0, set()
    for seed in range(60):
        changed = apply_camera(np.random.default_rng(seed), PHOTO.rgb, 60.0)
        assert changed.shape == PHOTO.rgb.shape
        assert changed.dtype == np.uint8
        spread = np.ptp(changed.astype(int).mean(axis=(0, 1)))
        grey += spread < 0.5
        seen.add(changed.tobytes())
    assert 0 < grey < 20
    assert len(seen) > 40
