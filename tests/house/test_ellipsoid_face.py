"""The toy face is a usable morphable model with the project's frame."""

import time

import pytest
import torch

from focus_ray.face_models.landmarks import FLIP, five_points
from tests.ellipsoid_face import ellipsoid_face

# Deep3D's aligned standard points in mm (method section 8.2).
STANDARD = torch.tensor(
    [[-31.1, 29.0, 13.4], [31.0, 29.0, 13.2], [0.3, -4.6, 55.2], [-25.2, -38.1, 22.4], [24.8, -38.1, 22.2]]
)


def test_mean_face_has_the_five_points_at_their_standard_places() -> None:
    model = ellipsoid_face()
    points = five_points(model.landmarks(model.mean[None]))[0]
    assert (points - STANDARD).abs().max() < 6.0


def test_landmarks_are_symmetric() -> None:
    model = ellipsoid_face()
    points = model.landmarks(model.mean[None])[0]
    mirrored = points[list(FLIP)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(points, mirrored, atol=1e-3, rtol=0)


def test_triangles_face_outwards() -> None:
    model = ellipsoid_face()
    a, b, c = model.mean[model.faces].unbind(1)
    assert bool((torch.linalg.cross(b - a, c - a)[:, 2] > 0).all())


def test_modes_are_orthogonal_and_decay() -> None:
    model = ellipsoid_face()
    for basis in (model.shape_basis[:80], model.shape_basis[80:], model.albedo_basis):
        gram = basis.flatten(1).double() @ basis.flatten(1).double().T
        norms = gram.diagonal()
        assert bool((norms[1:] < norms[:-1]).all())
        off_diagonal = gram - torch.diag(norms)
        assert off_diagonal.abs().max() < 1e-4 * norms[0]


@pytest.mark.parametrize("sizes", [(80, 64, 80), (3, 2, 1), (0, 0, 0)])
def test_sizes(sizes: tuple[int, int, int]) -> None:
    model = ellipsoid_face(*sizes)
    assert (model.n_identity, model.n_expression, model.n_albedo) == sizes
    assert 150 <= model.n_vertices <= 300


def test_builds_in_milliseconds() -> None:
    ellipsoid_face()
    start = time.perf_counter()
    ellipsoid_face()
    assert time.perf_counter() - start < 0.5
