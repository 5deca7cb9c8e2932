"""Tests of focus_ray.data.backgrounds."""

import numpy as np
import pytest

from focus_ray.data.backgrounds import KINDS, BackgroundDistributions, draw_background
from focus_ray.focus.camera import Camera, project, to_camera
from tests.ellipsoid_face import ellipsoid_face

SKIN = np.array([0.7, 0.5, 0.4])
BARE = BackgroundDistributions(head=0, skin_wall=0, decoy=0)


@pytest.fixture(scope="module")
def landmarks():
    model, camera = ellipsoid_face(), Camera(image_size=96)
    zero = model.mean.new_zeros(1, 3)
    return project(camera, to_camera(camera, model.landmarks(model.mean[None]), zero, zero))[0, :, :2].numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_the_canvas_and_varies_with_chance(kind):
    pictures = [kind(np.random.default_rng(seed), 64) for seed in range(4)]
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.float32 for picture in pictures)
    assert all(np.isfinite(picture).all() for picture in pictures)
    assert not np.allclose(pictures[0], pictures[1])


def test_the_same_chance_gives_the_same_background(landmarks):
    first, second = (
        draw_background(np.random.default_rng(5), 96, landmarks, SKIN, BackgroundDistributions()) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_a_skin_wall_has_about_the_skins_colour(landmarks):
    laws = BARE.model_copy(update={"skin_wall": 1.0, "own_skin": 1.0})
    walls = [draw_background(np.random.default_rng(seed), 96, landmarks, SKIN, laws).mean((0, 1)) for seed in range(8)]
    np.testing.assert_allclose(np.mean(walls, 0), SKIN, atol=0.08)


@pytest.mark.parametrize("law", ["head", "decoy"])
def test_a_head_or_a_decoy_changes_part_of_the_scenery(landmarks, law):
    laws = BackgroundDistributions(head=0, skin_wall=0, decoy=0)
    changed = []
    for seed in range(5):
        bare = draw_background(np.random.default_rng(seed), 96, landmarks, SKIN, laws)
        with_law = draw_background(np.random.default_rng(seed), 96, landmarks, SKIN, laws.model_copy(update={law: 1.0}))
        changed.append(float((np.abs(bare - with_law).max(-1) > 0.02).mean()))
    assert max(changed) > 0.01
    assert min(changed) < 0.9
