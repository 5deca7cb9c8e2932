"""Regions of a mesh: numbering, components, and nearest points of triangles."""

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.mesh_region import component_of_each_vertex, keep_region, nearest_weights
from tests.face_models.importers.writers import toy

FACE = toy()


def test_a_region_has_the_triangles_within_a_mask():
    keep = FACE.mean[:, 0] > 0
    region = keep_region(FACE.faces, keep)
    assert keep[region.vertices].all()
    assert np.unique(region.faces).tolist() == list(range(len(region.vertices)))
    inside = FACE.faces[keep[FACE.faces].all(axis=1)]
    np.testing.assert_array_equal(region.vertices[region.faces], inside)


def test_an_empty_region_is_refused():
    with pytest.raises(FaceModelError, match="has no triangle; import it whole"):
        keep_region(FACE.faces, np.zeros(len(FACE.mean), bool))


def test_components_are_numbered_by_size():
    component = component_of_each_vertex(FACE.faces, len(FACE.mean))
    assert set(component[~(FACE.right_eyeball | FACE.left_eyeball)]) == {0}
    assert {component[FACE.right_eyeball][0], component[FACE.left_eyeball][0]} == {1, 2}
    assert len(set(component[FACE.right_eyeball])) == 1


def test_nearest_weights_are_those_of_a_fine_search():
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(50, 3, 3))
    grid = np.array([(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]) / 60
    for point in rng.normal(size=(10, 3)) * 2:
        found = nearest_weights(point, corners)
        assert found.min() >= 0
        distance = np.linalg.norm(np.einsum("fk,fkd->fd", found, corners) - point, axis=1)
        searched = np.linalg.norm(np.einsum("gk,fkd->fgd", grid, corners) - point, axis=-1).min(axis=1)
        assert (distance <= searched + 1e-9).all()
        assert (distance > searched - 0.1).all()
