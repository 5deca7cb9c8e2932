"""Moments in pieces: those of the whole, whatever the pieces; the same bits for the same tree."""

import weakref
from typing import ClassVar

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from focus_ray.focus.synthesis import make_generator
from focus_ray.numerics.statistics import Moments, merge_tree


def samples(count: int, centre: float = 3.0, seed: int = 0) -> torch.Tensor:
    return centre + torch.randn(count, 5, 3, generator=make_generator(1, seed), dtype=torch.float64)


def equal(one: Moments, other: Moments) -> bool:
    """To the last bit."""
    return (
        one.count == other.count and torch.equal(one.mean, other.mean) and torch.equal(one.deviations, other.deviations)
    )


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12), centre=st.sampled_from([0.0, 3.0, 1e4]))
def test_the_pieces_give_the_moments_of_the_whole(sizes, centre):
    whole = samples(sum(sizes) + 2, centre)
    pieces = whole.split([*sizes, 2])
    total = merge_tree(Moments.from_samples(piece) if len(piece) else Moments.empty(5, 3) for piece in pieces)
    assert total.count == len(whole)
    torch.testing.assert_close(total.mean, whole.mean(0), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(total.variance, whole.var(0), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(total.standard_error, whole.std(0) / len(whole) ** 0.5, rtol=1e-9, atol=1e-13)


@given(count=st.integers(1, 70), height=st.integers(0, 4))
def test_pieces_of_the_tree_can_be_worked_out_anywhere(count, height):
    """Groups of a power of two neighbours, the last one smaller: the bits of one tree over all."""
    parts = [Moments.from_samples(samples(3, seed=seed)) for seed in range(count)]
    size = 2**height
    groups = [merge_tree(parts[start : start + size]) for start in range(0, count, size)]
    assert equal(merge_tree(groups), merge_tree(parts))


class Part(Moments):
    """Known by identity, so that it can be told which ones are still there."""

    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __post_init__(self):
        Part.alive.add(self)

    def merge(self, other: Moments) -> Moments:
        whole = super().merge(other)
        return Part(whole.count, whole.mean, whole.deviations)


def test_no_more_than_the_logarithm_of_the_parts_is_held():
    most = 0

    def parts():
        nonlocal most
        for seed in range(1000):
            part = Moments.from_samples(samples(1, seed=seed))
            yield Part(part.count, part.mean, part.deviations)
            most = max(most, len(Part.alive))

    assert merge_tree(parts()).count == 1000
    assert most <= 11


@pytest.mark.parametrize("offset", [0.0, 0.1, -7.3])
def test_a_constant_is_found_exactly(offset):
    constant = torch.full((5, 3), offset, dtype=torch.float64)
    total = merge_tree(Moments.from_samples(constant.expand(size, 5, 3)) for size in (3, 7, 1, 10))
    assert torch.equal(total.mean, constant)
    assert torch.equal(total.deviations, torch.zeros(5, 3, dtype=torch.float64))


def test_nothing_adds_nothing():
    some, none = Moments.from_samples(samples(4)), Moments.empty(5, 3)
    assert equal(some.merge(none), some)
    assert equal(none.merge(some), some)
    assert none.merge(none).count == 0


def test_the_spread_of_fewer_than_two_is_not_known():
    assert torch.isnan(Moments.from_samples(samples(1)).standard_error).all()
    assert torch.isnan(Moments.empty(5, 3).standard_error).all()


def test_no_samples_and_no_parts_are_refused():
    with pytest.raises(ValueError, match="no sample"):
        Moments.from_samples(samples(0))
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_tree([])
