"""The alignment of five points with ArcFace's template: against an independent solver, and where there is no answer."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from focus_ray.focus.networks.alignment import ARCFACE_TEMPLATE, align_faces, similarity_transform

POINTS = torch.tensor(ARCFACE_TEMPLATE, dtype=torch.float64)


def coordinates(height: int, width: int) -> torch.Tensor:
    """A picture whose two channels are x and y: what a warp samples is where it sampled."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y))[None].double()


def moved(points: torch.Tensor, angle: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return points @ torch.tensor([[c, s], [-s, c]], dtype=points.dtype) + torch.tensor(shift, dtype=points.dtype)


def test_the_template_stays_where_it_is():
    picture = torch.rand(1, 3, 112, 112, dtype=torch.float64)
    torch.testing.assert_close(align_faces(picture, POINTS[None], 112), picture)


@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.3, 3),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_a_similarity_is_found_exactly(angle, scale, shift):
    linear, offset = similarity_transform(moved(POINTS, angle, scale, shift)[None], POINTS[None])
    mapped = moved(POINTS, angle, scale, shift) @ linear[0].T + offset[0]
    torch.testing.assert_close(mapped, POINTS)


def test_noisy_points_give_umeyamas_answer():
    source = 40 * torch.rand(6, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    linear, shift = similarity_transform(source, POINTS.expand(6, -1, -1))
    for i in range(6):
        reference = torch.from_numpy(SimilarityTransform.from_estimate(source[i].numpy(), POINTS.numpy()).params)
        torch.testing.assert_close(linear[i], reference[:2, :2])
        torch.testing.assert_close(shift[i], reference[:2, 2])


def test_the_crop_samples_the_picture_at_the_moved_points():
    source = moved(POINTS, 0.3, 0.8, (30.0, -5.0))
    crop = align_faces(coordinates(120, 150), source[None], 112)
    u, v = 56, 71
    expected = moved(torch.tensor([[float(u), float(v)]], dtype=torch.float64), 0.3, 0.8, (30.0, -5.0))[0]
    torch.testing.assert_close(crop[0, :, v, u], expected)


def test_outside_the_picture_is_black():
    crop = align_faces(torch.ones(1, 1, 112, 112), POINTS[None].float() - 56, 112)
    assert crop[0, 0, 20, 20] == 0
    assert crop[0, 0, 90, 90] == 1


@pytest.mark.parametrize(
    "points",
    [torch.zeros(5, 2), torch.full((5, 2), 30.0), torch.full((5, 2), float("nan")), torch.full((5, 2), float("inf"))],
)
def test_points_without_a_similarity_show_the_whole_picture(points):
    crop = align_faces(coordinates(64, 96), points[None].double(), 112)
    torch.testing.assert_close(crop[0, :, -1, -1], torch.tensor([95.0, 63.0]).double())
    torch.testing.assert_close(crop[0, :, 0, 0], torch.zeros(2).double())


def test_huge_and_collinear_points_stay_finite():
    line = torch.arange(5.0)[:, None] * torch.tensor([[3.0, 1.0]])
    crops = align_faces(torch.rand(3, 3, 64, 64), torch.stack((line, 1e20 * line, 1e-20 * line)), 112)
    assert torch.isfinite(crops).all()


def test_gradients_reach_the_picture_and_not_the_points():
    picture = torch.rand(1, 3, 64, 64, requires_grad=True)
    points = (0.5 * POINTS[None].float()).requires_grad_()
    align_faces(picture, points, 112).sum().backward()
    assert picture.grad.any()
    assert points.grad is None


def test_under_autocast_the_crop_is_sampled_in_float32():
    picture = coordinates(224, 224).float()
    points = moved(POINTS, 0.2, 1.5, (20.0, 10.0)).float()[None]
    expected = align_faces(picture, points, 112)
    with torch.autocast("cpu", torch.bfloat16):
        crop = align_faces(picture, points, 112)
    assert crop.dtype == torch.float32
    assert torch.equal(crop, expected)
