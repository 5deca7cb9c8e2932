"""Hats and scarves end where a head ends."""

import numpy as np

from focus_ray.data.composites.outlines import family_outline
from tests.data.composites.photographs import astronaut


def test_outlines_hold_the_parts_of_a_head_and_not_the_shoulders():
    photo = astronaut()
    forehead = photo.landmarks[27] - 0.5 * (photo.landmarks[8] - photo.landmarks[27])
    below_chin = photo.landmarks[8] + 0.3 * (photo.landmarks[8] - photo.landmarks[27])
    shoulder = below_chin + np.array([80, 20])
    for family, inside in (("cap", forehead), ("hair", forehead), ("scarf", below_chin)):
        outline = family_outline(family, photo.landmarks, 260)
        assert outline is not None
        assert outline[tuple(np.rint(inside).astype(int)[::-1])] == 1
        assert outline[tuple(np.rint(shoulder).astype(int)[::-1])] == 0
    assert family_outline("hand", photo.landmarks, 260) is None


def test_the_outline_of_a_turned_head_is_centred_on_its_jaw():
    photo = astronaut()
    turned = photo.landmarks.copy()
    turned[:8, 0] += 15  # the right half of the jaw is nearer to the nose
    outlines = [family_outline("cap", points, 260) for points in (photo.landmarks, turned)]
    assert outlines[0] is not None
    assert outlines[1] is not None
    columns = [np.flatnonzero(one.max(axis=0)) for one in outlines]
    assert np.ptp(columns[1]) < np.ptp(columns[0])
    assert columns[1].mean() > columns[0].mean()
