"""Nearest points of a surface."""

import numpy as np
import pytest
import trimesh

from focus_ray.errors import DataError
from focus_ray.evaluation.now.surface import Surface
from focus_ray.geometry.mesh_reader import TriangleMesh
from tests.evaluation.now.faces import cap
from tests.evaluation.now.slow_now import distances

SQUARE = TriangleMesh(
    np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]), np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int64)
)


def soup(seed, n):
    """Triangles of all shapes, needles and points among them."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(n, 1, 3)) * 20 + rng.normal(size=(n, 3, 3)) * np.exp(rng.normal(size=(n, 1, 3)))
    vertices[0] = vertices[0, 0]  # a point
    vertices[1, 2] = 0.3 * vertices[1, 0] + 0.7 * vertices[1, 1]  # a segment
    vertices[2, 2] = vertices[2, 1] + 1e-9  # a needle
    return TriangleMesh(vertices.reshape(-1, 3), np.arange(3 * n).reshape(-1, 3))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [3, 17, 300])
def test_distances_are_those_of_brute_force(seed, n):
    mesh = soup(seed, n)
    points = np.random.default_rng(seed + 50).normal(size=(100, 3)) * 25
    np.testing.assert_allclose(
        Surface(mesh).distances(points), distances(points, mesh.vertices, mesh.faces), rtol=0, atol=1e-9
    )


def test_above_a_plane_it_is_the_height_and_beside_it_the_way_to_the_edge():
    points = np.array([[3.0, 4, 5], [3, 4, -5], [13, 5, 4], [-3, -4, 12], [10, 10, 1]])
    np.testing.assert_allclose(Surface(SQUARE).distances(points), [5, 5, 5, 13, 1])


def test_between_concentric_spheres_it_is_the_difference_of_radii():
    inner, outer = trimesh.creation.icosphere(4, 50.0), trimesh.creation.icosphere(3, 60.0)
    found = Surface(TriangleMesh(np.array(inner.vertices), np.array(inner.faces))).distances(np.array(outer.vertices))
    sagitta = 50 * (1 - np.cos(0.05))  # triangles lie a little within the sphere
    assert found.min() >= 10 - 1e-9
    assert found.max() <= 10 + sagitta


def test_places_of_another_search_change_nothing():
    mesh = cap(3, 20).mesh
    surface, rng = Surface(mesh), np.random.default_rng(1)
    points = rng.normal(size=(200, 3)) * 40
    closest, places = surface.nearest(points)
    again, _ = surface.nearest(points, rng.permutation(places))
    np.testing.assert_allclose(again, closest, atol=1e-12)


def test_the_triangle_that_is_named_holds_the_nearest_point():
    mesh = cap(3, 20).mesh
    surface = Surface(mesh)
    closest, places = surface.nearest(np.random.default_rng(1).normal(size=(50, 3)) * 40)
    for point, row in zip(closest, surface.order[places], strict=True):
        assert distances(point[None], mesh.vertices, mesh.faces[row][None])[0] < 1e-9
    assert (surface.normals(places) @ [0, 0, 1] > 0).all()


def test_points_alone_are_no_surface():
    with pytest.raises(DataError, match="no triangles"):
        Surface(TriangleMesh(np.zeros((5, 3)), np.zeros((0, 3), dtype=np.int64)))
