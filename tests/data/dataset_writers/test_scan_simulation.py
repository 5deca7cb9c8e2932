"""Scans: on the surface, of other points, with holes."""

import numpy as np
import pytest
import trimesh

from focus_ray.data.dataset_writers.scan_simulation import NOISE_MM, Frame, simulate_scan
from focus_ray.geometry.mesh_reader import TriangleMesh
from tests.data.dataset_writers.sets import world


@pytest.fixture(scope="module")
def face():
    model = world()
    return TriangleMesh(model.mean.double().numpy(), model.faces.numpy())


def distances(points, face):
    return np.abs(trimesh.proximity.closest_point_naive(trimesh.Trimesh(face.vertices, face.faces), points)[1])


def test_points_are_others_and_lie_on_the_surface_within_the_noise(face):
    scanned = simulate_scan(np.random.default_rng(0), face)
    assert len(scanned.vertices) > 3 * len(face.vertices)
    some = scanned.vertices[::20]
    away = distances(some, face)
    assert away.max() < 5 * NOISE_MM
    assert 0.3 * NOISE_MM < away.mean() < NOISE_MM  # mean of |N(0, sigma)| is 0.8 sigma
    nearest = np.linalg.norm(some[:, None] - face.vertices, axis=2).min(axis=1)
    assert np.median(nearest) > 5 * NOISE_MM, "vertices are not those of the model"


def test_triangles_look_outwards_and_are_of_one_size(face):
    scanned = simulate_scan(np.random.default_rng(0), face)
    mesh = trimesh.Trimesh(scanned.vertices, scanned.faces, process=False)
    assert (mesh.face_normals[:, 2] > 0).mean() > 0.95
    assert scanned.faces.max() == len(scanned.vertices) - 1
    assert mesh.edges_unique_length.max() < 12


def test_holes_are_missing(face):
    whole = trimesh.Trimesh(face.vertices, face.faces)
    scanned = simulate_scan(np.random.default_rng(1), face)
    area = trimesh.Trimesh(scanned.vertices, scanned.faces, process=False).area
    assert 0.85 < area / whole.area < 0.995


def test_a_frame_moves_rigidly(face):
    frame = Frame.random(np.random.default_rng(2))
    assert np.allclose(frame.rotation @ frame.rotation.T, np.eye(3))
    assert np.linalg.det(frame.rotation) == pytest.approx(1)
    moved = frame.to_scanner(face.vertices)
    assert np.allclose((moved - frame.translation) @ frame.rotation, face.vertices)
