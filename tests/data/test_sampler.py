"""Every pass sees every sample once, in an order that seed and step alone decide."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_ray.data.sampler import batch_indices, epoch_of


@given(size=st.integers(1, 40), batch=st.integers(1, 50))
@settings(deadline=None, max_examples=30)
def test_each_pass_holds_every_sample_once(size, batch):
    steps = 2 * size // batch + 2
    seen = [index for step in range(steps) for index in batch_indices(3, step, batch, size)]
    assert sorted(seen[:size]) == list(range(size))
    assert sorted(seen[size : 2 * size]) == list(range(size))


def test_passes_and_seeds_differ():
    first, second = (batch_indices(0, step, 100, 100) for step in (0, 1))
    assert first != second
    assert first != batch_indices(1, 0, 100, 100)


@pytest.mark.parametrize(("step", "epoch"), [(0, 0), (4, 0), (5, 1)])
def test_epochs_are_counted_from_the_batches_beginning(step, epoch):
    assert epoch_of(step, 2, 10) == epoch
