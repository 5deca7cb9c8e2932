"""A mean over a batch is the ratio of sums over its parts, whatever the parts; nothing at all has the mean 0."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.focus.pooled_ratio import PooledRatio, pooled_mean

NUMBERS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5)


def number(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_the_ratio_is_numerator_over_denominator():
    assert float(PooledRatio(number(3.0), number(4.0)).ratio()) == 0.75


def test_less_than_one_pixel_counts_as_one():
    assert float(PooledRatio(number(0.25), number(0.5)).ratio()) == 0.25


def test_the_mean_of_nothing_is_zero_and_so_is_its_gradient():
    numerator, denominator = number(0.0).requires_grad_(), number(0.0).requires_grad_()
    mean = PooledRatio(numerator * 3, denominator * 3).ratio()
    mean.backward()
    assert float(mean.detach()) == 0.0
    assert float(numerator.grad) == 3.0
    assert float(denominator.grad) == 0.0


def test_both_numbers_have_a_gradient():
    numerator, denominator = number(6.0).requires_grad_(), number(4.0).requires_grad_()
    PooledRatio(numerator, denominator).ratio().backward()
    assert float(numerator.grad) == pytest.approx(1 / 4)
    assert float(denominator.grad) == pytest.approx(-6 / 16)


def test_a_mean_over_images_has_its_gradient_and_is_itself_again():
    images = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    pooled = pooled_mean(images.mean(), 3)
    assert float(pooled.denominator) == 3.0
    assert float(pooled.numerator.detach()) == pytest.approx(9.0)
    pooled.ratio().backward()
    torch.testing.assert_close(images.grad, torch.full((3,), 1 / 3))


def test_a_mean_keeps_its_type():
    pooled = pooled_mean(torch.tensor(2.0, dtype=torch.float64), 3)
    assert pooled.numerator.dtype == pooled.denominator.dtype == torch.float64


@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_parts_add_up_to_the_mean_of_the_whole(parts: list[list[float]]):
    pooled = [pooled_mean(torch.tensor(part, dtype=torch.float64).mean(), len(part)) for part in parts]
    together = PooledRatio(*(torch.stack(numbers).sum() for numbers in zip(*pooled, strict=True)))
    whole = torch.tensor([value for part in parts for value in part], dtype=torch.float64)
    torch.testing.assert_close(together.ratio(), whole.mean(), rtol=1e-9, atol=1e-9)
