"""The optional pytorch3d back end: its coordinates, its absence, and its agreement with ours where it is installed."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from focus_ray.errors import ConfigError
from focus_ray.focus.render import interpolate, rasterize
from focus_ray.focus.render.backends import check_installed
from focus_ray.focus.render.rasterize_pytorch3d import draw_fragments, to_ndc
from tests.pytorch3d import needs_pytorch3d, without_pytorch3d

LEAST_AREA = 1e-8  # normalised, of a triangle that it draws
ROUNDING = 1e-3  # px: largest distance from an edge at which float32 may choose the other side


def test_coordinates_of_a_square_image():
    screen = torch.tensor([[[0.0, 0.0, 900.0], [7.0, 7.0, 900.0], [3.5, 3.5, 800.0]]])
    # x left, y up, pixel centres half a pixel inside of [-1, 1]
    expected = torch.tensor([[[7 / 8, 7 / 8, 900.0], [-7 / 8, -7 / 8, 900.0], [0.0, 0.0, 800.0]]])
    torch.testing.assert_close(to_ndc(screen, 8, 8), expected)


def test_the_longer_side_reaches_beyond_one():
    corner = torch.tensor([[[0.0, 0.0, 900.0]]])
    assert to_ndc(corner, 8, 16)[0, 0].tolist() == pytest.approx([15 / 8, 7 / 8, 900])


@without_pytorch3d
def test_its_absence_is_a_clear_error():
    with pytest.raises(ConfigError, match=r"docs/rasterizers\.md"):
        rasterize(torch.rand(1, 3, 3), torch.tensor([[0, 1, 2]]), 4, 4, backend="pytorch3d")
    with pytest.raises(ConfigError, match=r"docs/rasterizers\.md"):
        check_installed("pytorch3d")


def distances_to_edges(screen: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
    """Distance [B,H,W] of each pixel centre from the nearest edge of its triangle, px; infinite for the background."""
    row, column = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in ids.shape[1:]), indexing="ij")
    centre = torch.stack((column, row), dim=-1)
    batch = torch.arange(len(screen)).view(-1, 1, 1, 1)
    corners = screen.double()[batch, faces[ids.clamp_min(0)]][..., :2]
    edges = corners.roll(-1, dims=-2) - corners
    offset = centre[None, :, :, None] - corners
    distance = (edges[..., 0] * offset[..., 1] - edges[..., 1] * offset[..., 0]).abs() / edges.norm(dim=-1)
    return torch.where(ids < 0, torch.inf, distance.amin(dim=-1))


@needs_pytorch3d
@pytest.mark.parametrize("cull_back", [False, True])
@pytest.mark.parametrize("size", [(40, 40), (40, 33), (30, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ids_are_those_of_the_other_back_ends(disk, cull_back, size, dtype):
    screen, _, faces = disk(2, 10, 40, dtype)
    ours = rasterize(screen, faces, *size, backend="torch", cull_back=cull_back)
    theirs = rasterize(screen, faces, *size, backend="pytorch3d", cull_back=cull_back)
    nearest_edge = torch.minimum(distances_to_edges(screen, faces, ours), distances_to_edges(screen, faces, theirs))
    assert (nearest_edge[ours != theirs] < ROUNDING).all()
    assert (ours != theirs).sum() <= 3
    assert (theirs >= 0).float().mean() > 0.4


@needs_pytorch3d
def test_its_two_differences_are_those_of_the_documents():
    square = torch.tensor([[[1.0, 1.0, 900.0], [1.0, 5.0, 900.0], [5.0, 1.0, 900.0], [5.0, 5.0, 900.0]]])
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    ours, theirs = (rasterize(square, faces, 8, 8, backend=name)[0] for name in ("torch", "pytorch3d"))
    assert (ours >= 0).sum() == 25, "edges and corners are covered"
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[2:5, 2:5] = ~torch.eye(3, dtype=torch.bool).flip(1)  # neither the outline nor the diagonal
    assert ((theirs >= 0) == inside).all()
    side = 8 / 2 * LEAST_AREA**0.5  # px, of a right triangle with half of that area twice over
    for scale, drawn in ((0.9, False), (1.1, True)):
        tiny = torch.tensor([[[-0.3, -0.3, 900.0], [-0.3, 0.7, 900.0], [0.7, -0.3, 900.0]]]) * scale * side
        assert (rasterize(tiny, faces[:1], 8, 8, backend="torch")[0, 0, 0] == 0).all()
        assert (rasterize(tiny, faces[:1], 8, 8, backend="pytorch3d")[0, 0, 0] == 0).all() == drawn


@needs_pytorch3d
def test_gradients_are_those_of_the_reference(disk):
    screen, colours, faces = disk(2, 10, 40)
    to_image = torch.randn(2, 3, 40, 40)
    leaves = screen.requires_grad_(), colours.requires_grad_()
    packed, weights = draw_fragments(leaves[0], faces, 40, 40, cull_back=False)
    corners = torch.cat([one[faces] for one in leaves[1]])
    image = import_module("pytorch3d.ops").interpolate_face_attributes(packed, weights, corners)
    theirs = torch.autograd.grad(image[..., 0, :].permute(0, 3, 1, 2), leaves, to_image)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    ids = rasterize(screen, faces, 40, 40, backend="pytorch3d")
    reference = interpolate(*exact, faces, ids, backend="torch")
    for their, our in zip(theirs, torch.autograd.grad(reference, exact, to_image.double()), strict=True):
        assert (their - our).norm() < 1e-4 * our.norm()
