"""The table from the 106 points of insightface's network to iBUG's 68, checked on what both orders share."""

import numpy as np

from focus_ray.data.detectors.points_106 import FROM_106, JAW, N_POINTS, to_ibug

EYES = (33, 87)  # first of the ten points of an eye: outline and pupil
BROWS = (43, 97)  # first of the nine of a brow
MOUTH = range(52, 72)
NOSE = range(72, 87)


def test_each_part_of_the_68_is_made_of_points_of_that_part():
    assert len(FROM_106) == len(set(FROM_106)) == 68
    assert sorted(JAW) == list(range(33))
    assert set(FROM_106[17:22]) <= set(range(BROWS[0], BROWS[0] + 9))
    assert set(FROM_106[22:27]) <= set(range(BROWS[1], BROWS[1] + 9))
    assert set(FROM_106[27:36]) <= set(NOSE)
    assert set(FROM_106[36:42]) <= set(range(EYES[0], EYES[0] + 10))
    assert set(FROM_106[42:48]) <= set(range(EYES[1], EYES[1] + 10))
    assert set(FROM_106[48:]) == set(MOUTH), "the mouth has the same 20 points in both"


def test_the_eyes_have_one_order_from_left_to_right_in_the_picture():
    """iBUG goes round either eye from its left corner over the upper lid, and the network's order is one for both."""
    left, right = (np.array(FROM_106[first : first + 6]) for first in (36, 42))
    assert (left - EYES[0]).tolist() == (right - EYES[1]).tolist()


def test_the_jaw_is_every_second_point_of_an_even_outline():
    angle = np.linspace(0, np.pi, 33)
    points = np.zeros((N_POINTS, 2))
    points[list(JAW)] = np.stack([-np.cos(angle), np.sin(angle)], axis=1)
    jaw = to_ibug(points)[:17]
    np.testing.assert_allclose(jaw[8], [0, 1], atol=1e-12)  # the chin
    np.testing.assert_allclose(jaw[::-1] * [-1, 1], jaw, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(np.diff(jaw, axis=0), axis=1), 2 * np.sin(np.pi / 32), atol=1e-12)
