"""Similarities and the alignment by landmarks."""

import numpy as np
import pytest

from focus_ray.errors import LandmarkError
from focus_ray.evaluation.now.similarity import procrustes
from tests.evaluation.now.faces import cap, similarity
from tests.evaluation.now.slow_now import horn


def test_a_known_similarity_is_found():
    known = similarity(3)
    found = procrustes(cap(1).landmarks, known(cap(1).landmarks))
    assert found.scale == pytest.approx(known.scale)
    np.testing.assert_allclose(found.rotation, known.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, known.translation, atol=1e-9)
    assert not found.is_reflection


@pytest.mark.parametrize("scaled", [True, False])
def test_it_is_the_one_of_horns_quaternion(scaled):
    points, targets = cap(1).landmarks, similarity(4)(cap(2).landmarks)
    found, (scale, rotation, translation) = procrustes(points, targets, scaled), horn(points, targets, scaled)
    assert found.scale == pytest.approx(scale)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation, translation, atol=1e-7)


def test_reflections_are_allowed_as_best_fits():
    points = cap(1).landmarks
    found = procrustes(points * [-1, 1, 1], points)
    assert found.is_reflection
    np.testing.assert_allclose(found(points * [-1, 1, 1]), points, atol=1e-9)


def test_inverse_and_composition():
    first, second = similarity(1), similarity(2)
    points = cap(0).landmarks
    np.testing.assert_allclose(first.inverse(first(points)), points, atol=1e-9)
    np.testing.assert_allclose(second.compose(first)(points), second(first(points)), atol=1e-9)


def test_landmarks_in_one_point_are_refused():
    with pytest.raises(LandmarkError, match="one point"):
        procrustes(np.ones((7, 3)), cap(0).landmarks)
    with pytest.raises(LandmarkError, match="one point"):
        procrustes(cap(0).landmarks, np.ones((7, 3)))
