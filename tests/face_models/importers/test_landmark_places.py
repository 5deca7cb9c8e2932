"""Places of landmarks: they stay on their own triangles, also where surfaces touch, and move only out of a crop."""

import numpy as np

from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import keep_region, whole
from tests.face_models.importers.writers import toy

FACE = toy()


def test_landmarks_of_triangles_keep_triangle_and_weights():
    places = LandmarkPlaces(FACE.faces[FACE.landmark_triangles], FACE.landmark_weights)
    triangles, weights, moved = places.on(FACE.mean, whole(FACE.faces, len(FACE.mean)))
    placed = np.einsum("lk,lkd->ld", weights, FACE.mean[FACE.faces[triangles]])
    np.testing.assert_allclose(placed, FACE.landmarks, atol=1e-5)
    assert moved.max() < 1e-5


def test_a_landmark_at_a_vertex_stays_there_although_another_surface_touches():
    triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    vertices, faces = np.concatenate([triangle, triangle]), np.array([[0, 1, 2], [3, 4, 5]])
    for vertex in range(6):
        places = LandmarkPlaces.at_vertices(np.full(68, vertex))
        triangles, weights, _ = places.on(vertices, whole(faces, 6))
        np.testing.assert_array_equal(faces[triangles[0]][weights[0].argmax()], vertex)
        assert weights.max() == 1


def test_landmarks_out_of_a_crop_move_to_its_nearest_place():
    keep = FACE.mean[:, 1] > -60
    region = keep_region(FACE.faces, keep)
    places = LandmarkPlaces(FACE.faces[FACE.landmark_triangles], FACE.landmark_weights)
    triangles, weights, moved = places.on(FACE.mean, region)
    placed = np.einsum("lk,lkd->ld", weights, FACE.mean[region.vertices][region.faces[triangles]])
    assert set(np.flatnonzero(moved > 0.1)) == set(range(5, 12))
    np.testing.assert_allclose(placed[12:], FACE.landmarks[12:], atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights.min() >= 0


def test_usable_triangles_exclude_others():
    region = whole(FACE.faces, len(FACE.mean))
    skin = (FACE.faces < FACE.right_eyeball.argmax()).all(axis=1)
    points = FACE.mean[np.resize(np.flatnonzero(FACE.left_eyeball), 68)]
    places = LandmarkPlaces.near_points(points, FACE.mean, FACE.faces)
    triangles, _, moved = places.on(FACE.mean, region, skin)
    assert skin[triangles].all()
    assert moved.max() > 1
