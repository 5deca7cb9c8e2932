"""The region of a face: the hull of the landmarks and the forehead above it."""

import numpy as np

from focus_ray.data.composites.face_region import face_region
from tests.data.composites.photographs import astronaut


def test_the_region_holds_all_landmarks_and_a_forehead():
    photo = astronaut()
    height, width = photo.rgb.shape[:2]
    region = face_region(photo.landmarks, height, width)
    columns, rows = np.rint(photo.landmarks).astype(int).T
    assert region[rows, columns].all()
    brows = photo.landmarks[17:27].mean(axis=0)
    to_chin = photo.landmarks[8] - brows
    assert region[tuple(np.rint(brows - 0.2 * to_chin).astype(int)[::-1])]
    assert not region[tuple(np.rint(photo.landmarks[8] + 0.2 * to_chin).astype(int)[::-1])]


def test_a_face_that_leaves_the_picture_is_cut_off():
    photo = astronaut()
    region = face_region(photo.landmarks, 120, 100)
    assert region.shape == (120, 100)
    assert np.array_equal(region, face_region(photo.landmarks, 260, 230)[:120, :100])
