"""Tests of the families for training, each by what all of them promise."""

import numpy as np
import pytest

from focus_ray.data.composites.face_region import face_region
from focus_ray.data.composites.training.families import TRAINING_FAMILIES, SkinPieces
from focus_ray.data.occluders import FAMILIES, DrawOccluder
from tests.data.composites.photographs import astronaut

SIZE = 230
SKIN = np.array([0.75, 0.58, 0.5])
PHOTO = astronaut()
NEW: dict[str, DrawOccluder] = {
    **{name: draw for name, draw in TRAINING_FAMILIES.items() if name not in FAMILIES},
    "skin_piece": SkinPieces([PHOTO]),
}


def test_the_families_of_the_synthetic_world_are_among_them_unchanged():
    assert all(TRAINING_FAMILIES[name] is draw for name, draw in FAMILIES.items())


@pytest.mark.parametrize("family", NEW)
def test_a_drawing_is_a_colour_and_an_alpha_that_hides_some_of_the_face(family):
    region, shares = face_region(PHOTO.landmarks, SIZE, SIZE), []
    for seed in range(20):
        rgb, alpha = NEW[family](np.random.default_rng(seed), SIZE, PHOTO.landmarks, SKIN)
        assert rgb.shape == (SIZE, SIZE, 3)
        assert rgb.dtype == alpha.dtype == np.float32
        assert alpha.shape == (SIZE, SIZE)
        assert np.isfinite(rgb).all()
        assert 0 <= alpha.min() <= alpha.max() <= 1
        shares.append(float((alpha[region] > 0.5).mean()))
    shares = np.array(shares)
    assert np.mean((shares > 0.005) & (shares < 0.9)) >= 0.8
    assert 0.01 < shares.mean() < 0.7
    assert shares.std() > 0


@pytest.mark.parametrize("family", NEW)
def test_the_same_chance_draws_the_same(family):
    first, second, other = (NEW[family](np.random.default_rng(seed), SIZE, PHOTO.landmarks, SKIN) for seed in (3, 3, 4))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.alpha, second.alpha)
    assert not np.array_equal(first.alpha, other.alpha)


@pytest.mark.parametrize("family", NEW)
def test_a_small_canvas_and_a_face_partly_outside_are_drawn(family):
    for points in (PHOTO.landmarks * 0.15, PHOTO.landmarks + 150):
        layer = NEW[family](np.random.default_rng(0), 40, points, SKIN)
        assert np.isfinite(layer.rgb).all()
