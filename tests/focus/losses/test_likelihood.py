"""Equations 9 and 10 and the pre-training of the segmentation network: the reference values and the released loss."""

import math

import pytest
import torch

from focus_ray.focus.losses import (
    RELEASE_XI,
    log_likelihood,
    mask_cross_entropy,
    preliminary_mask,
    truncated_nll,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grey(value: float) -> torch.Tensor:
    """A 1 x 1 picture whose colour has the length ``value``."""
    return torch.full((1, 3, 1, 1), value / 3**0.5, dtype=torch.float64)


def test_reference_values_of_the_likelihood():
    assert log_likelihood(grey(0), grey(0)).item() == pytest.approx(6.68285, abs=1e-5)
    assert log_likelihood(grey(0.129), grey(0)).item() == pytest.approx(2.18285, abs=1e-4)
    assert math.isclose(RELEASE_XI, 0.129**2)


def test_the_preliminary_mask_thresholds_the_squared_error_inside_the_region():
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert preliminary_mask(grey(0.41), grey(0), one) == 1  # 0.41^2 < 0.17
    assert preliminary_mask(grey(0.42), grey(0), one) == 0
    assert preliminary_mask(grey(0), grey(0), 0 * one) == 0
    assert preliminary_mask(grey(0.128), grey(0), one, xi=RELEASE_XI) == 1
    assert preliminary_mask(grey(0.130), grey(0), one, xi=RELEASE_XI) == 0


def test_the_preliminary_mask_is_a_constant():
    rendering = noise(1, 3, 4, 4).requires_grad_()
    region = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    assert not preliminary_mask(noise(1, 3, 4, 4, seed=1), rendering, region).requires_grad


def test_the_released_truncated_likelihood():
    target = noise(2, 3, 5, 5)
    rendering = (target + 0.25 * (noise(2, 3, 5, 5, seed=1) - 0.5)).requires_grad_()
    region = (noise(2, 1, 5, 5, seed=2) > 0.3).double()
    squared = (target - rendering).square().sum(1)
    inlier = region[:, 0] * (squared.sqrt() < 0.129)
    expected = -(inlier * (-270.416 * squared + 6.68285)).mean()
    loss = truncated_nll(target, rendering, region)
    assert 0 < inlier.sum() < region.sum()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    assert torch.equal(rendering.grad.abs().sum(1) > 0, inlier > 0)


def test_mask_cross_entropy_counts_the_region_only():
    logits, label = 4 * noise(2, 1, 5, 5) - 2, (noise(2, 1, 5, 5, seed=1) > 0.5).double()
    region = (noise(2, 1, 5, 5, seed=2) > 0.3).double()
    p = logits.sigmoid()
    entropy = -(label * p.log() + (1 - label) * (1 - p).log())
    torch.testing.assert_close(mask_cross_entropy(logits, label, region), entropy[region > 0].mean())
    assert mask_cross_entropy(logits, label, torch.zeros_like(region)) == 0


def test_a_saturated_mask_still_learns():
    logits = torch.full((1, 1, 2, 2), 60.0, requires_grad=True)
    mask_cross_entropy(logits, torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).backward()
    torch.testing.assert_close(logits.grad, torch.full((1, 1, 2, 2), 0.25))
