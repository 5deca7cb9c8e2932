"""Landmarks from named points: exact where there is a name, near elsewhere, and the forms of the metadata."""

import json

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.named_landmarks import NAMES, landmarks_from_names, parse_named_points
from focus_ray.face_models.parametric import parametric_face


@pytest.fixture(scope="module")
def own() -> np.ndarray:
    face = parametric_face("small", 120, 80, 120)
    return face.landmarks(face.mean[None])[0].double().numpy()


def test_a_moved_and_scaled_parametric_face_is_found_again(own):
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])
    target = 1.1 * own @ turn.T + [3, -20, 90]
    points = {name: tuple(target[number]) for number, name in NAMES.items()}
    landmarks, known = landmarks_from_names(points)
    assert known == len(NAMES)
    np.testing.assert_allclose(landmarks[list(NAMES)], target[list(NAMES)], atol=1e-9)
    np.testing.assert_allclose(landmarks, target, atol=2.0)


def test_lips_that_are_one_point_of_the_closed_mouth_may_be_two_of_an_open_one(own):
    target = own.copy()
    target[[57, 58, 56, 66, 65, 67, 8], 1] -= 6.0
    landmarks, _ = landmarks_from_names({name: tuple(target[number]) for number, name in NAMES.items()})
    np.testing.assert_allclose(landmarks[list(NAMES)], target[list(NAMES)], atol=1e-9)
    assert np.abs(landmarks - target).max() < 6.0


def test_the_required_points_are_enough(own):
    required = (30, 36, 39, 42, 45, 48, 54)
    landmarks, known = landmarks_from_names({NAMES[number]: tuple(own[number]) for number in required})
    assert known == 7
    np.testing.assert_allclose(landmarks, own, atol=2.0)


def test_too_few_points_are_refused(own):
    with pytest.raises(FaceModelError, match="does not name eyes, nose and mouth; give a landmark file: 68 rows"):
        landmarks_from_names({NAMES[30]: tuple(own[30])})


def test_every_form_of_the_metadata_is_read():
    expected = {"center.nose.tip": (1.0, 2.0, 3.5), "left.eye.top": (4.0, 5.0, 6.0)}
    listed = [{"id": name, "coordinates": place, "uncertainty": {}} for name, place in expected.items()]
    lines = "\n".join(f"{name} 1 {x} {y} {z} 1 0 0" for name, (x, y, z) in expected.items())
    assert parse_named_points(json.dumps(listed)) == expected
    assert parse_named_points(json.dumps(expected)) == expected
    assert parse_named_points(lines) == expected


@pytest.mark.parametrize(
    "text", ["[", "{" * 99_999, '[{"id": "a"}]', '{"a": 1}', '{"a": [1, 2]}', "a 1 2 3", "[1]", '{"a": "bcd"}']
)
def test_malformed_metadata_is_refused(text):
    with pytest.raises(FaceModelError, match="the named points of the file are malformed; give a landmark file"):
        parse_named_points(text)
