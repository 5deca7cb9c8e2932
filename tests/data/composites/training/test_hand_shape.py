"""Hands have connected bones and poses that bend them."""

import numpy as np

from focus_ray.data.composites.training.hand_shape import FINGERS, HandPose, build_hand, draw_pose


def test_the_bones_of_a_finger_are_joined_and_taper():
    hand = build_hand(draw_pose(np.random.default_rng(0)))
    for group in FINGERS:
        bones = np.flatnonzero(hand.groups == group)
        np.testing.assert_allclose(hand.ends[bones[:-1]], hand.starts[bones[1:]])
        assert (hand.radii[bones, 0] >= hand.radii[bones, 1]).all()


def test_a_fist_is_shorter_than_an_open_hand():
    reach = [build_hand(HandPose(np.full((4, 3), bend), 0.2, np.zeros(2))).ends[:, 1].max() for bend in (0.05, 1.2)]
    assert reach[0] > 2.0
    assert reach[1] < 1.5
