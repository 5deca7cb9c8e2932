"""The NoW error of a prediction: against the slow twin, closed forms and invariances."""

import numpy as np
import pytest
import trimesh

from focus_ray.data.sources.now import Scan
from focus_ray.errors import DataError
from focus_ray.evaluation.now.crop import crop_to_face
from focus_ray.evaluation.now.metric import scan_error
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.geometry.mesh_reader import TriangleMesh
from tests.evaluation.now.faces import cap, moved, pair, scan, similarity
from tests.evaluation.now.slow_now import distances, slow_error, slow_refinement

PAIRS = range(20)


@pytest.mark.parametrize("seed", PAIRS)
def test_at_the_same_alignment_distances_are_those_of_the_slow_twin(seed):
    one, prediction = pair(seed)
    found = scan_error(one, prediction)
    aligned = found.alignment(prediction.mesh.vertices)
    slow = distances(crop_to_face(one.vertices, one.landmarks), aligned, prediction.mesh.faces)
    assert found.n == len(slow)
    np.testing.assert_allclose(found.distances, slow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", PAIRS)
def test_the_refined_error_is_that_of_the_slow_twin(seed):
    metrical = seed % 4 == 0
    one, prediction = pair(seed, n=120, mesh=10)
    if metrical:
        prediction = moved(cap(seed + 500, 10), similarity(seed, scale=1.03))
    mesh, found = prediction.mesh, scan_error(one, prediction, metrical)
    slow = slow_error(one.vertices, one.landmarks, mesh.vertices, mesh.faces, prediction.landmarks, metrical)
    error, slow_square = np.square(found.distances, dtype=np.float64).sum(), np.square(slow).sum()
    assert error <= slow_square * (1 + 1e-6)
    if error < slow_square * (1 - 1e-4):
        # Triangles as coarse as these make hollows of their own; the twin stopped in a higher one.
        aligned = found.alignment(mesh.vertices)
        slow = slow_refinement(one.vertices, one.landmarks, aligned, mesh.faces, metrical)
    assert slow.mean() > 0.3  # the pair differs
    assert found.distances.mean(dtype=np.float64) == pytest.approx(slow.mean(), abs=1e-3)


def test_the_frame_and_scale_of_the_prediction_do_not_count():
    one, prediction = pair(1)
    first = scan_error(one, prediction).distances
    for seed in range(5):
        again = scan_error(one, moved(prediction, similarity(seed + 900))).distances
        np.testing.assert_allclose(again, first, rtol=0, atol=1e-3)


def test_the_order_of_vertices_and_triangles_does_not_count():
    one, prediction = pair(2)
    first = scan_error(one, prediction).distances
    rng = np.random.default_rng(0)
    vertices, faces = prediction.mesh.vertices, prediction.mesh.faces
    order = rng.permutation(len(vertices))
    place = np.argsort(order)
    shuffled = TriangleMesh(vertices[order], np.roll(place[rng.permutation(faces)], 1, axis=1))
    again = scan_error(one, SubmittedFace(shuffled, prediction.landmarks)).distances
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-3)
    places = rng.permutation(len(one.vertices))
    again = scan_error(Scan(one.vertices[places], one.landmarks), prediction).distances
    assert np.sort(again) == pytest.approx(np.sort(first), abs=1e-3)


def test_many_points_begin_with_a_few_and_end_the_same():
    one, prediction = scan(3, 30_000), cap(503)
    found = scan_error(one, prediction)
    assert found.n > 15_000
    again = scan_error(Scan(one.vertices[::-1].copy(), one.landmarks), moved(prediction, similarity(5)))
    assert again.distances.mean(dtype=np.float64) == pytest.approx(found.distances.mean(dtype=np.float64), abs=1e-3)


def test_the_perfect_prediction_has_only_the_scans_noise():
    fine = cap(4, 60)
    assert scan_error(scan(4), fine).distances.mean() < 0.12


def test_concentric_spheres_differ_by_their_radii_in_the_metrical_variant_alone():
    inner, outer = trimesh.creation.icosphere(4, 50.0), trimesh.creation.icosphere(4, 52.0)
    landmarks = 3 * (cap(0).landmarks - [0, 0, 60])  # so far apart that the whole sphere is kept
    prediction = SubmittedFace(TriangleMesh(np.array(inner.vertices), np.array(inner.faces)), landmarks)
    one = Scan(np.array(outer.vertices), landmarks)
    assert scan_error(one, prediction).n == len(outer.vertices)
    assert scan_error(one, prediction).distances.mean() < 0.05
    assert scan_error(one, prediction, metrical=True).distances.mean() == pytest.approx(2.0, abs=0.1)


def test_the_metrical_variant_sees_scale():
    one = scan(6)
    for scale in (0.9, 1.1):
        small = moved(cap(6, 40), similarity(1, scale=scale))
        assert scan_error(one, small).distances.mean() < 0.15
        assert scan_error(one, small, metrical=True).distances.mean() > 0.4
        assert scan_error(one, small, metrical=True).alignment.scale == 1.0


def test_a_scan_beside_its_landmarks_is_refused():
    one = scan(0)
    with pytest.raises(DataError, match="belong together"):
        scan_error(Scan(one.vertices + 1000.0, one.landmarks), cap(0))
