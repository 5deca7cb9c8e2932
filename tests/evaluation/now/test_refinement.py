"""The refinement on the surface."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from focus_ray.evaluation.now.refinement import morton_order, refine_alignment
from focus_ray.evaluation.now.similarity import Similarity
from focus_ray.evaluation.now.surface import Surface
from focus_ray.geometry.mesh_reader import TriangleMesh
from tests.evaluation.now.faces import cap


def on_the_surface(mesh, n=600):
    """Points on the triangles."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet([1, 1, 1], size=n)
    points = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[rng.integers(len(mesh.faces), size=n)]])
    return points[np.abs(points[:, :2]).max(axis=1) < 60]


@pytest.mark.parametrize("scale", [1.0, 1.04])
def test_a_small_motion_is_found_again(scale):
    mesh = cap(2).mesh
    motion = Similarity(scale, Rotation.from_rotvec([0.03, -0.02, 0.04]).as_matrix(), np.array([2.0, -1, 1.5]))
    found = refine_alignment(motion(on_the_surface(mesh)), Surface(mesh))
    assert found.scale == pytest.approx(scale, abs=1e-6)
    np.testing.assert_allclose(found.rotation, motion.rotation, atol=1e-6)
    np.testing.assert_allclose(found.translation, motion.translation, atol=1e-4)


def test_without_scale_it_stays_one():
    mesh = cap(2).mesh
    found = refine_alignment(1.04 * on_the_surface(mesh), Surface(mesh), with_scale=False)
    assert found.scale == 1.0
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)


def test_a_plane_on_a_plane_leaves_free_directions_alone():
    rng = np.random.default_rng(0)
    corners = np.array([[-50.0, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]])
    plane = Surface(TriangleMesh(corners, np.array([[0, 1, 2], [0, 2, 3]])))
    points = np.column_stack([rng.uniform(-20, 20, size=(50, 2)), np.full(50, 3.0)])
    found = refine_alignment(points, plane)
    np.testing.assert_allclose(found(corners)[:, 2], 3.0, atol=1e-6)
    np.testing.assert_allclose(found(corners)[:, :2], corners[:, :2], atol=1.0)


def test_the_order_along_the_curve_does_not_depend_on_the_order_before():
    points = np.random.default_rng(0).normal(size=(300, 3))
    shuffled = np.random.default_rng(1).permutation(points)
    np.testing.assert_array_equal(points[morton_order(points)], shuffled[morton_order(shuffled)])
    steps = np.linalg.norm(np.diff(points[morton_order(points)], axis=0), axis=1)
    assert steps.mean() < 0.7 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
