"""Equations 5 to 8: known values, gradients, invariances, and the released code's readings."""

import pytest
import torch
from torch.nn import functional

from focus_ray.focus.losses import landmark, landmark_weights, perceptual, pixel, pixel_sum, regularizer


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_pixel_is_the_masked_squared_error_over_the_mask_area():
    target, rendering, mask = noise(2, 3, 5, 6, seed=1), noise(2, 3, 5, 6, seed=2), noise(2, 1, 5, 6, seed=3)
    squared = ((target - rendering) * mask).square().sum()
    torch.testing.assert_close(pixel(target, rendering, mask), squared / mask.sum())
    torch.testing.assert_close(pixel(target, rendering, mask, normalise="image"), squared / mask.numel())


def test_a_constant_error_gives_its_squared_norm_whatever_the_mask():
    target = torch.zeros(2, 3, 8, 8)
    rendering = torch.tensor([0.1, 0.2, 0.2])[None, :, None, None].expand(2, 3, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:7, 1:5] = 1
    assert pixel(target, rendering, mask).item() == pytest.approx(0.09)
    assert pixel(target, rendering, mask, norm="l21").item() == pytest.approx(0.3)
    region = torch.ones_like(mask)
    assert pixel(target, rendering, mask, normalise="region", region=region).item() == pytest.approx(0.09 * 20 / 128)


def test_the_released_pixel_loss():
    target, rendering, mask = noise(2, 3, 5, 6, seed=1), noise(2, 3, 5, 6, seed=2), noise(2, 1, 5, 6, seed=3)
    expected = (mask[:, 0] * (target - rendering).norm(dim=1)).sum() / max(mask.sum(), 1)
    torch.testing.assert_close(pixel(target, rendering, mask, norm="l21"), expected)


def test_the_region_must_be_given_to_normalise_by_it():
    with pytest.raises(ValueError, match="region="):
        pixel(noise(1, 3, 4, 4), noise(1, 3, 4, 4), noise(1, 1, 4, 4), normalise="region")


@pytest.mark.parametrize("norm", ["squared", "l21"])
def test_pixel_gradients_and_equal_pixels(norm):
    target, rendering = noise(1, 3, 4, 4, seed=1), noise(1, 3, 4, 4, seed=2).requires_grad_()
    mask = (noise(1, 1, 4, 4, seed=3) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda r, m: pixel(target, r, m, norm=norm), (rendering, mask))
    same = target.clone().requires_grad_()
    pixel(target, same, mask, norm=norm).backward()
    assert torch.equal(same.grad, torch.zeros_like(same))


@pytest.mark.parametrize("norm", ["squared", "l21"])
@pytest.mark.parametrize("normalise", ["mask", "image"])
def test_an_empty_mask_gives_zero_and_finite_gradients(norm, normalise):
    rendering = noise(1, 3, 4, 4, seed=2).requires_grad_()
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    loss = pixel(noise(1, 3, 4, 4), rendering, mask, norm=norm, normalise=normalise)
    loss.backward()
    assert loss == 0
    assert torch.isfinite(rendering.grad).all()
    assert torch.isfinite(mask.grad).all()


def test_pooled_parts_of_two_workers_give_the_loss_of_the_whole_batch():
    target, rendering, mask = noise(4, 3, 5, 5, seed=1), noise(4, 3, 5, 5, seed=2), noise(4, 1, 5, 5, seed=3)
    parts = [pixel_sum(target[i], rendering[i], mask[i]) for i in (slice(0, 3), slice(3, 4))]
    pooled = sum(p.numerator for p in parts) / sum(p.denominator for p in parts)
    torch.testing.assert_close(pixel(target, rendering, mask), pooled)


def test_batch_and_image_size_leave_the_values():
    target, rendering, mask = noise(2, 3, 4, 4, seed=1), noise(2, 3, 4, 4, seed=2), noise(2, 1, 4, 4, seed=3)
    for change in (lambda x: x.repeat(3, 1, 1, 1), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)):
        t, r, m = change(target), change(rendering), change(mask)
        for options in ({}, {"norm": "l21"}, {"normalise": "image"}):
            torch.testing.assert_close(pixel(t, r, m, **options), pixel(target, rendering, mask, **options))


def test_perceptual_is_one_minus_the_cosine_of_the_embeddings():
    x, y = noise(4, 16, seed=1) - 0.5, noise(4, 16, seed=2) - 0.5
    torch.testing.assert_close(perceptual(x, y), (1 - functional.cosine_similarity(x, y)).mean())
    assert perceptual(x, x) == 0


def test_the_landmark_weights_of_paper_and_release():
    paper, release, uniform = (landmark_weights(name) for name in ("paper", "release", "uniform"))
    heavy = [27, 28, 29, 30, *range(60, 68)]
    assert paper.nonzero().numel() == 68
    assert (paper == 20).nonzero().flatten().tolist() == heavy
    assert (release == 20).nonzero().flatten().tolist() == heavy[1:]
    assert torch.equal(uniform, torch.ones(68))


def test_landmark_weighs_the_squared_distance():
    truth, found = 224 * noise(3, 68, 2, seed=1), 224 * noise(3, 68, 2, seed=2)
    weights = torch.ones(68, dtype=torch.float64)
    weights[27:31] = weights[60:68] = 20
    expected = (weights * (truth - found).square().sum(-1)).sum() / (3 * 68 * 2)
    torch.testing.assert_close(landmark(truth, found), expected)
    torch.testing.assert_close(landmark(truth, truth + 1), weights.mean())
    torch.testing.assert_close(landmark(truth, found, landmark_weights("uniform")), functional.mse_loss(truth, found))


def test_the_released_landmark_loss_squares_the_weight():
    truth, found = 224 * noise(3, 68, 2, seed=1), 224 * noise(3, 68, 2, seed=2)
    weights = torch.ones(1, 68, 1, dtype=torch.float64)
    weights[:, 28:31] = weights[:, 60:] = 20
    expected = (weights * (truth - found)).square().mean()
    torch.testing.assert_close(landmark(truth, found, landmark_weights("release"), squared_weights=True), expected)


def test_landmark_counts_pixels_of_a_224_px_image():
    truth, found = 64 * noise(3, 68, 2, seed=1), 64 * noise(3, 68, 2, seed=2)
    torch.testing.assert_close(landmark(truth, found, image_size=64), landmark(truth * 3.5, found * 3.5))
    torch.testing.assert_close(landmark(truth.repeat(2, 1, 1), found.repeat(2, 1, 1)), landmark(truth, found))
    assert torch.autograd.gradcheck(landmark, (truth[:1], found[:1].requires_grad_()))


def test_regularizer_is_the_squared_norm_of_theta():
    theta = noise(4, 257) - 0.5
    torch.testing.assert_close(regularizer(theta), theta.norm(dim=1).square().mean())
    torch.testing.assert_close(regularizer(theta.repeat(2, 1)), regularizer(theta))
    torch.testing.assert_close(regularizer(theta, coefficients=80), theta[:, :80].norm(dim=1).square().mean())


def test_the_released_regularizer_leaves_light_and_camera_out():
    theta = noise(4, 257) - 0.5
    expected = theta[:, :224].square().sum() / (4 * 224)
    torch.testing.assert_close(regularizer(theta, form="release"), expected)
    theta[:, 224:] = 1000
    torch.testing.assert_close(regularizer(theta, form="release"), expected)
