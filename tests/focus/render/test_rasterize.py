"""Visibility: equal to brute force, watertight, deterministic, and unmoved by broken triangles."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.focus.camera import Camera, project, to_camera
from focus_ray.focus.render import interpolate, rasterize

BACKENDS = ("numba", "torch")
DOUBLE = torch.float64


def triangle(*corners):
    return torch.tensor([corners], dtype=torch.float32), torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("cull_back", [False, True])
def test_ids_equal_brute_force(backend, disk, by_brute_force, dtype, cull_back):
    screen, _, faces = disk(3, 12, 40, dtype)
    ids = rasterize(screen, faces, 40, 33, backend=backend, cull_back=cull_back)
    assert torch.equal(ids, by_brute_force(screen, faces, 40, 33, cull_back))
    assert 0.4 < (ids >= 0).float().mean() < 0.9


def test_ids_of_a_tangle_of_triangles_equal_brute_force(backend, by_brute_force):
    screen = torch.rand(2, 60, 3) * torch.tensor([50.0, 40.0, 500.0]) + torch.tensor([-9.0, -9.0, 600.0])
    faces = torch.randint(60, (80, 3))  # crossing, facing either way, some degenerate
    ids = rasterize(screen, faces, 30, 32, backend=backend)
    assert torch.equal(ids, by_brute_force(screen, faces, 30, 32))


@pytest.mark.parametrize("face", ["ellipsoid_face", "small_face"])
def test_backends_agree_on_a_face(request, face):
    model = request.getfixturevalue(face)
    camera = Camera(image_size=96)
    vertices = model.vertices(torch.randn(4, 144))
    screen = project(camera, to_camera(camera, vertices, 0.4 * torch.randn(4, 3), 10 * torch.randn(4, 3)))
    numba, plain = (rasterize(screen, model.faces, 96, 96, backend=backend) for backend in BACKENDS)
    assert torch.equal(numba, plain)
    assert (numba >= 0).float().mean() > 0.3


@given(seed=st.integers(0, 10**6), cells=st.integers(1, 9), steps=st.sampled_from([1, 2, 4, 1000]))
def test_a_mesh_without_gaps_leaves_no_hole(seed, cells, steps):
    # Vertices on multiples of 1 / steps px: with few steps, many edges and corners run through pixel centres.
    generator = torch.Generator().manual_seed(seed)
    size, side = 20, cells + 1
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    cell = (size + 8) / cells
    corners = torch.stack((column, row), dim=-1).reshape(-1, 2) * cell - 4.5
    corners += cell / 4 * (2 * torch.rand(side * side, 2, generator=generator) - 1) * (cells > 1)
    border = ((row % cells == 0) | (column % cells == 0)).reshape(-1, 1)
    outwards = 8 * (corners - size / 2).sign() * border  # the border stays beyond the image wherever it is jittered
    corners = ((corners + outwards) * steps).round() / steps
    screen = torch.cat((corners, 900 + 200 * torch.rand(side * side, 1, generator=generator)), dim=1)[None]
    ids = torch.arange(side * side).view(side, side)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
    faces = torch.stack((torch.stack((a, c, b), -1), torch.stack((b, c, d), -1))).reshape(-1, 3)
    drawn = [rasterize(screen, faces, size, size, backend=backend) for backend in BACKENDS]
    assert (drawn[0] >= 0).all()
    assert torch.equal(*drawn)


def test_corners_and_edges_on_pixel_centres_belong_to_the_triangle(backend):
    screen, faces = triangle((1, 1, 1024), (4, 1, 1024), (1, 4, 1024))
    expected = torch.tensor(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 1, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ]
    )
    assert torch.equal(rasterize(screen, faces, 6, 6, backend=backend)[0], expected - 1)


def test_the_lower_id_wins_at_equal_depth(backend):
    screen, _ = triangle((0, 0, 1024), (7, 0, 1024), (0, 7, 1024))
    faces = torch.tensor([[0, 0, 1], [2, 0, 1], [0, 1, 2], [0, 2, 1]])  # the first has no area
    ids = rasterize(screen, faces, 8, 8, backend=backend)
    assert set(ids.unique().tolist()) == {-1, 1}


def test_the_nearer_triangle_wins_also_where_two_cross(backend):
    screen = torch.tensor([[[0, 0, 500], [9, 0, 500], [0, 9, 500], [0, 0, 400], [9, 0, 600], [0, 9, 400]]]).float()
    row = rasterize(screen, torch.tensor([[0, 1, 2], [3, 4, 5]]), 1, 10, backend=backend)[0, 0]
    # inverse depth is linear on the screen: 1/400 at u = 0, 1/600 at u = 9, so 1/500 at u = 5.4
    assert row.tolist() == [1] * 6 + [0] * 4


def test_culling_keeps_what_faces_the_camera(backend):
    screen, faces = triangle((0, 0, 1000), (0, 7, 1000), (7, 0, 1000))  # counter-clockwise as one sees it
    both = torch.cat((faces, faces.flip(1)))
    assert rasterize(screen, both[:1], 8, 8, backend=backend, cull_back=True).max() == 0
    assert rasterize(screen, both[1:], 8, 8, backend=backend, cull_back=True).max() == -1
    assert rasterize(screen, both[1:], 8, 8, backend=backend).max() == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_triangles_with_a_broken_vertex_are_ignored(backend, disk, bad, axis):
    screen, attributes, faces = disk(1, 12, 32)
    broken = torch.tensor([5, 40, 77])
    screen[:, broken, axis] = bad
    ids = rasterize(screen, faces, 32, 32, backend=backend)
    touched = torch.isin(faces, broken).any(dim=1)
    if bad != 3e38:  # absurd, but a number: it is drawn, and must only not hang
        assert not touched[ids[ids >= 0]].any()
    screen.requires_grad_()
    image = interpolate(screen, attributes, faces, ids, backend=backend)
    image.sum().backward()
    assert image.isfinite().all()
    assert screen.grad is not None
    assert screen.grad.isfinite().all()


@pytest.mark.parametrize("depth", [0.0, -1000.0])
def test_triangles_that_reach_behind_the_camera_are_ignored(backend, depth):
    screen, faces = triangle((0, 0, 1000), (7, 0, 1000), (0, 7, depth))
    assert rasterize(screen, faces, 8, 8, backend=backend).max() == -1


@pytest.mark.parametrize(
    "corners",
    [
        [(2, 2, 900), (2, 2, 900), (2, 2, 900)],
        [(0, 0, 900), (3, 3, 900), (6, 6, 900)],
        [(-50, -50, 900), (-40, -50, 900), (-50, -40, 900)],
        [(100, 100, 900), (120, 100, 900), (100, 120, 900)],
    ],
)
def test_triangles_without_area_or_outside_the_image_draw_nothing(backend, corners):
    screen, faces = triangle(*corners)
    assert rasterize(screen, faces, 8, 8, backend=backend).max() == -1


def test_a_triangle_far_larger_than_the_image_covers_it(backend):
    screen, faces = triangle((-1e6, -1e6, 900), (1e6, -1e6, 1000), (0, 2e6, 1100))
    assert rasterize(screen, faces, 16, 24, backend=backend).eq(0).all()


def test_nothing_to_draw(backend):
    empty = torch.zeros(0, 3, dtype=torch.int64)
    assert rasterize(torch.rand(2, 5, 3), empty, 4, 6, backend=backend).eq(-1).all()
    assert rasterize(torch.rand(0, 5, 3), torch.tensor([[0, 1, 2]]), 4, 6, backend=backend).shape == (0, 4, 6)


def test_chunks_do_not_change_the_torch_result(disk, monkeypatch):
    from focus_ray.focus.render import rasterize_torch

    screen, _, faces = disk(2, 12, 40)
    whole = rasterize(screen, faces, 40, 40, backend="torch")
    monkeypatch.setattr(rasterize_torch, "CANDIDATES_PER_CHUNK", 37)
    assert torch.equal(rasterize(screen, faces, 40, 40, backend="torch"), whole)


def test_ids_carry_no_gradient(backend, disk):
    screen, _, faces = disk(1, 6, 16)
    assert not rasterize(screen.requires_grad_(), faces, 16, 16, backend=backend).requires_grad


@pytest.mark.parametrize(
    ("vertices", "faces", "size", "message"),
    [
        (torch.rand(1, 4, 2), torch.tensor([[0, 1, 2]]), (8, 8), r"\[B, V, 3\]"),
        (torch.ones(1, 4, 3, dtype=torch.int64), torch.tensor([[0, 1, 2]]), (8, 8), "floating"),
        (torch.rand(1, 4, 3), torch.tensor([[0, 1, 2, 3]]), (8, 8), r"\[F, 3\]"),
        (torch.rand(1, 4, 3), torch.tensor([[0.0, 1.0, 2.0]]), (8, 8), "int64"),
        (torch.rand(1, 4, 3), torch.tensor([[0, 1, 4]]), (8, 8), r"0\.\.4, outside 0\.\.3"),
        (torch.rand(1, 4, 3), torch.tensor([[0, -1, 2]]), (8, 8), r"-1\.\.2, outside"),
        (torch.rand(1, 4, 3), torch.tensor([[0, 1, 2]]), (0, 8), "positive height"),
    ],
)
def test_arguments_that_do_not_fit_are_named(backend, vertices, faces, size, message):
    with pytest.raises((TypeError, ValueError), match=message):
        inspect.unwrap(rasterize)(vertices, faces, *size, backend=backend)  # without the test run's own shape check
