"""Equations 1 to 4 and the binary term: known values, gradients, invariances, and the released code's readings."""

import math

import pytest
import torch
from torch.nn import functional

from focus_ray.focus.losses import (
    SegmentationWeights,
    area,
    binary,
    dist,
    neighbor,
    neighbor_residual,
    neighbor_sum,
    planted_sum,
    presv,
    segmentation_total,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def brute_force_residual(single: torch.Tensor, around: torch.Tensor, window: int) -> torch.Tensor:
    """Pixel by pixel, straight from the equation."""
    batch, _, height, width = single.shape
    reach = window // 2
    out = torch.empty(batch, 1, height, width, dtype=single.dtype)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                ys = range(max(0, y - reach), min(height, y + reach + 1))
                xs = range(max(0, x - reach), min(width, x + reach + 1))
                out[b, 0, y, x] = min(torch.dist(single[b, :, y, x], around[b, :, i, j]) for i in ys for j in xs)
    return out


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("centre", ["target", "rendering"])
def test_the_residual_is_the_minimum_over_the_neighbourhood(window, centre):
    target, rendering = noise(2, 3, 6, 7, seed=1), noise(2, 3, 6, 7, seed=2)
    single, around = (target, rendering) if centre == "target" else (rendering, target)
    expected = brute_force_residual(single, around, window)
    torch.testing.assert_close(neighbor_residual(target, rendering, window=window, centre=centre), expected)
    squared = neighbor_residual(target, rendering, window=window, centre=centre, squared=True)
    torch.testing.assert_close(squared, expected.square())


def test_the_papers_form_is_the_masked_squared_residual_over_all_pixels():
    target, rendering, mask = noise(2, 3, 6, 7, seed=1), noise(2, 3, 6, 7, seed=2), noise(2, 1, 6, 7, seed=3)
    expected = (mask * brute_force_residual(target, rendering, 3).square()).sum() / mask.numel()
    torch.testing.assert_close(neighbor(target, rendering, mask), expected)
    by_mask = (mask * brute_force_residual(target, rendering, 3).square()).sum() / mask.sum()
    torch.testing.assert_close(neighbor(target, rendering, mask, normalise="mask"), by_mask)


def test_a_shift_within_the_window_costs_nothing_away_from_the_border():
    target = noise(1, 3, 12, 12)
    mask = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    mask[..., 3:-3, 3:-3] = 1
    assert neighbor(target, target.roll((1, -1), (2, 3)), mask) == 0
    assert neighbor(target, target.roll((2, -2), (2, 3)), mask, window=5) == 0
    assert neighbor(target, target.roll((2, -2), (2, 3)), mask) > 0


def test_the_released_neighbour_loss():
    target, rendering, mask = noise(2, 3, 9, 8, seed=1), noise(2, 3, 9, 8, seed=2), noise(2, 1, 9, 8, seed=3)
    single, around = rendering * mask, target * mask
    shifted = torch.stack([around.roll((-dy, -dx), (2, 3)) for dy in range(-2, 3) for dx in range(-2, 3)])
    expected = (shifted - single).norm(dim=2).amin(dim=0)[:, 2:-2, 2:-2].mean()
    release = {"window": 5, "squared": False, "centre": "rendering", "premultiplied": True, "border": "drop"}
    torch.testing.assert_close(neighbor(target, rendering, mask, **release), expected)


@pytest.mark.parametrize("window", [0, 2, -1])
def test_an_even_neighbourhood_is_refused(window):
    with pytest.raises(ValueError, match="odd"):
        neighbor(noise(1, 3, 4, 4), noise(1, 3, 4, 4), noise(1, 1, 4, 4), window=window)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"squared": False, "normalise": "mask"},
        {"window": 5, "squared": False, "centre": "rendering", "premultiplied": True, "border": "drop"},
    ],
)
def test_neighbour_gradients(options):
    images = [noise(1, 3, 6, 6, seed=1).requires_grad_(), noise(1, 3, 6, 6, seed=2).requires_grad_()]
    mask = noise(1, 1, 6, 6, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, r, m: neighbor(t, r, m, **options), (*images, mask))


def test_pooled_parts_of_two_workers_give_the_loss_of_the_whole_batch():
    target, rendering, mask = noise(4, 3, 6, 6, seed=1), noise(4, 3, 6, 6, seed=2), noise(4, 1, 6, 6, seed=3)
    parts = [neighbor_sum(target[i], rendering[i], mask[i], normalise="mask") for i in (slice(0, 1), slice(1, 4))]
    pooled = sum(p.numerator for p in parts) / sum(p.denominator for p in parts)
    torch.testing.assert_close(neighbor(target, rendering, mask, normalise="mask"), pooled)


@pytest.mark.parametrize("loss", [dist, presv])
def test_feature_losses_are_one_minus_the_cosine(loss):
    x, y = noise(3, 8, 4, 5, seed=1) - 0.5, noise(3, 8, 4, 5, seed=2) - 0.5
    torch.testing.assert_close(loss(x, y), (1 - functional.cosine_similarity(x, y, dim=1)).mean())
    torch.testing.assert_close(
        loss(x[..., 0, 0], y[..., 0, 0]), (1 - functional.cosine_similarity(x[..., 0, 0], y[..., 0, 0])).mean()
    )
    torch.testing.assert_close(loss(x, 7 * x), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(loss(x, -x), torch.full((), 2.0, dtype=torch.float64))
    released = (
        1 - functional.cosine_similarity(functional.normalize(x, dim=-1), functional.normalize(y, dim=-1))
    ).mean()
    torch.testing.assert_close(loss(x, y, width_normalised=True), released)
    assert torch.autograd.gradcheck(loss, (x[:1].requires_grad_(), y[:1].requires_grad_()))


def test_features_without_direction_have_a_value_and_finite_gradients():
    zero, other = torch.zeros(2, 5, requires_grad=True), torch.ones(2, 5, requires_grad=True)
    assert dist(zero, zero) == 0
    assert dist(zero, other) == 1
    dist(zero, other).backward()
    assert torch.equal(zero.grad, torch.zeros(2, 5))
    assert torch.isfinite(other.grad).all()


def test_close_features_do_not_cancel():
    x = noise(1, 64, dtype=torch.float32) + 1
    y = x.clone()
    y[0, 0] += 1e-4
    exact = 1 - functional.cosine_similarity(x.double(), y.double())
    assert math.isclose(dist(x, y).item(), exact.item(), rel_tol=1e-2)
    assert exact > 0


def test_area_of_the_whole_region_and_of_none():
    region = torch.zeros(2, 1, 8, 8)
    region[0, :, 2:6, 2:6] = 1
    region[1, :, :2, :2] = 1
    empty = torch.zeros_like(region)
    assert area(region, region) == -1
    assert area(empty, region) == 0
    assert area(region, region, form="release") == 0
    assert area(empty, region, form="release") == 1
    half = region.clone()
    half[0, :, 2:4] = 0
    assert area(half, region) == pytest.approx(-0.75)  # images count alike, whatever their area


def test_both_forms_of_area_have_the_same_gradient():
    mask = noise(2, 1, 5, 5).requires_grad_()
    region = (noise(2, 1, 5, 5, seed=1) > 0.4).double()
    (paper,) = torch.autograd.grad(area(mask, region), mask)
    (release,) = torch.autograd.grad(area(mask, region, form="release"), mask)
    torch.testing.assert_close(paper, release)
    assert torch.autograd.gradcheck(area, (mask, region))


def test_binary_prefers_masks_of_zeros_and_ones():
    hard = (noise(2, 1, 6, 6) > 0.5).double()
    undecided = torch.full_like(hard, 0.5)
    assert binary(hard) == -0.25
    assert binary(undecided) == 0
    assert binary(hard, form="release") == 0
    assert binary(undecided, form="release") == 0.5
    mask = noise(2, 1, 6, 6, seed=1)
    torch.testing.assert_close(binary(mask), -(mask - 0.5).square().mean())
    torch.testing.assert_close(binary(mask, form="release"), 0.5 - (mask - 0.5).abs().mean())
    torch.testing.assert_close(binary(mask, hard), -(mask - 0.5).square()[hard > 0].mean())
    assert torch.autograd.gradcheck(binary, (mask.requires_grad_(),))


@pytest.mark.parametrize(("residual", "becomes"), [(0.78, "face"), (0.80, "outlier")])
def test_with_the_papers_weights_a_decided_pixel_moves_only_above_a_residual_of_079(residual, becomes):
    """As `binary` says: L_nbr + L_area + L_bin of a pixel at M = 0.9, three eighths of the picture rendered."""
    weights = SegmentationWeights()
    region = torch.zeros(1, 1, 8, 8)
    region[..., :3] = 1
    target, rendering = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    rendering[:, 0] = residual
    mask = (0.9 * region).requires_grad_()
    terms = {"nbr": neighbor(target, rendering, mask), "area": area(mask, region), "bin": binary(mask)}
    (slope,) = torch.autograd.grad(segmentation_total(terms, weights), mask)
    assert ("outlier" if slope[0, 0, 4, 1] > 0 else "face") == becomes


def test_batch_and_image_size_leave_the_values():
    target, rendering = noise(2, 3, 1, 1, seed=1).expand(-1, -1, 6, 6), noise(2, 3, 1, 1, seed=2).expand(-1, -1, 6, 6)
    mask = noise(2, 1, 6, 6, seed=3)
    region = (noise(2, 1, 6, 6, seed=4) > 0.3).double()
    for change in (lambda x: x.repeat(3, 1, 1, 1), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)):
        t, r, m, a = (change(x) for x in (target, rendering, mask, region))
        for options in ({}, {"normalise": "mask"}):
            torch.testing.assert_close(neighbor(t, r, m, **options), neighbor(target, rendering, mask, **options))
        torch.testing.assert_close(area(m, a), area(mask, region))
        torch.testing.assert_close(binary(m), binary(mask))
        torch.testing.assert_close(binary(m, a), binary(mask, region))
        torch.testing.assert_close(dist(t, r), dist(target, rendering))


@pytest.mark.parametrize("normalise", ["image", "mask"])
@pytest.mark.parametrize("premultiplied", [False, True])
def test_an_empty_mask_gives_zero_and_finite_gradients(normalise, premultiplied):
    target, rendering = noise(1, 3, 6, 6, seed=1).requires_grad_(), noise(1, 3, 6, 6, seed=2).requires_grad_()
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    options = {"normalise": normalise, "premultiplied": premultiplied, "squared": False}
    loss = neighbor(target, rendering, mask, **options) + area(mask, torch.zeros_like(mask))
    loss = loss + binary(mask, torch.zeros_like(mask))
    loss.backward()
    assert loss == 0
    assert all(torch.isfinite(x.grad).all() for x in (target, rendering, mask))


def test_planted_pixels_are_outliers_explained_ones_face_and_the_others_have_no_label():
    planted = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    explained = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2)  # a planted pixel may look explained
    logits = torch.tensor([2.0, -1.0, 5.0, -3.0]).view(1, 1, 2, 2)
    face = torch.sigmoid(logits.flatten())
    expected = -3.0 * torch.log(1 - face[0]) - torch.log(face[1]) - 3.0 * torch.log(1 - face[3])
    pooled = planted_sum(logits, planted, explained, outlier_weight=3.0)
    torch.testing.assert_close(pooled.numerator, expected)
    assert float(pooled.denominator) == 7.0
    moved = planted_sum(logits + torch.tensor([0, 0, 9.0, 0]).view(1, 1, 2, 2), planted, explained)
    torch.testing.assert_close(moved.ratio(), planted_sum(logits, planted, explained).ratio())
