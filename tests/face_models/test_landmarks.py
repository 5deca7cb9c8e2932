"""The 68 points' groups and mirror order."""

import torch

from focus_ray.face_models import landmarks


def test_groups_cover_every_point_once() -> None:
    points = sorted(point for group in landmarks.LANDMARK_GROUPS.values() for point in group)
    assert points == list(range(68))


def test_flip_is_an_involution_that_exchanges_the_sides() -> None:
    flip = landmarks.FLIP
    assert [flip[i] for i in flip] == list(range(68))
    assert {flip[i] for i in landmarks.RIGHT_EYE} == set(landmarks.LEFT_EYE)
    assert {flip[i] for i in landmarks.RIGHT_BROW} == set(landmarks.LEFT_BROW)
    midline = [i for i in range(68) if flip[i] == i]
    assert midline == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_five_points_of_known_positions() -> None:
    points = torch.arange(2 * 68 * 2.0).view(2, 68, 2)
    five = landmarks.five_points(points)
    assert five.shape == (2, 5, 2)
    torch.testing.assert_close(five[:, 0], (points[:, 36] + points[:, 39]) / 2)
    torch.testing.assert_close(five[:, 1], (points[:, 42] + points[:, 45]) / 2)
    torch.testing.assert_close(five[:, 2:], points[:, [30, 48, 54]])
