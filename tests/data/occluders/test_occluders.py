"""Tests of the families of focus_ray.data.occluders, each by what all of them promise."""

import numpy as np
import pytest

from focus_ray.data.occluders import FAMILIES
from focus_ray.focus.camera import Camera, project, to_camera
from tests.ellipsoid_face import ellipsoid_face

SIZE = 128
SKIN = np.array([0.7, 0.5, 0.4])


@pytest.fixture(scope="module")
def landmarks():
    model, camera = ellipsoid_face(), Camera(image_size=SIZE)
    zero = model.mean.new_zeros(1, 3)
    return project(camera, to_camera(camera, model.landmarks(model.mean[None]), zero, zero))[0, :, :2].numpy()


@pytest.fixture(scope="module")
def face_box(landmarks):
    left, brows = landmarks.min(0).astype(int)
    right, chin = landmarks.max(0).astype(int)
    forehead = (chin - brows) // 3
    return slice(brows - forehead, chin), slice(left, right)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_drawing_is_a_colour_and_an_alpha_on_the_whole_canvas(family, landmarks):
    for seed in range(8):
        rgb, alpha = FAMILIES[family](np.random.default_rng(seed), SIZE, landmarks, SKIN)
        assert rgb.shape == (SIZE, SIZE, 3)
        assert alpha.shape == (SIZE, SIZE)
        assert np.isfinite(rgb).all()
        assert 0 <= alpha.min() <= alpha.max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_mostly_hides_part_of_the_face_and_varies(family, landmarks, face_box):
    drawn = [FAMILIES[family](np.random.default_rng(seed), SIZE, landmarks, SKIN) for seed in range(12)]
    hidden = np.array([(layer.alpha[face_box] > 0.5).mean() for layer in drawn])
    assert np.mean((hidden > 0.02) & (hidden < 0.85)) >= 0.7
    assert hidden.std() > 0
    assert not np.array_equal(drawn[0].rgb, drawn[1].rgb)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_chance_draws_the_same(family, landmarks):
    first, second = (FAMILIES[family](np.random.default_rng(3), SIZE, landmarks, SKIN) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.alpha, second.alpha)


@pytest.mark.parametrize("family", FAMILIES)
def test_landmarks_far_outside_the_canvas_are_drawn_without_error(family, landmarks):
    for shift in (np.array([900.0, 0.0]), np.array([0.0, -900.0])):
        alpha = FAMILIES[family](np.random.default_rng(0), SIZE, landmarks + shift.astype(np.float32), SKIN).alpha
        assert np.isfinite(alpha).all()


@pytest.mark.parametrize(("family", "points"), [("sunglasses", slice(36, 48)), ("surgical_mask", slice(48, 60))])
def test_worn_things_sit_where_they_are_worn(family, points, landmarks):
    for seed in range(6):
        alpha = FAMILIES[family](np.random.default_rng(seed), SIZE, landmarks, SKIN).alpha
        column, row = np.rint(landmarks[points]).astype(int).T
        assert alpha[row, column].mean() > 0.8


def test_a_hand_is_often_exactly_of_the_faces_own_colour(landmarks):
    own = 0
    for seed in range(30):
        layer = FAMILIES["hand"](np.random.default_rng(seed), SIZE, landmarks, SKIN)
        colour = np.median(layer.rgb[layer.alpha > 0.9], axis=0)
        own += bool(np.allclose(colour / colour.sum(), SKIN / SKIN.sum(), atol=2e-3))
    assert 8 <= own <= 24
