"""The order of records: a function of seed and step, within windows of shards."""

import numpy as np
import pytest

from focus_ray.data.prepared.window_order import needed_shards, pass_order, step_records

LENGTHS = (4, 3, 5, 0, 4, 2)


@pytest.mark.parametrize("window", [1, 2, 16])
def test_a_pass_has_each_record_once_and_a_window_has_its_shards_only(window):
    order = pass_order(7, 1, LENGTHS, window)
    assert sorted(order.records) == list(range(sum(LENGTHS)))
    shard_of = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    start = 0
    for shards, end in zip(order.windows, order.ends, strict=True):
        assert set(shard_of[order.records[start:end]]) <= set(shards)
        start = end
    assert not np.array_equal(order.records, pass_order(7, 2, LENGTHS, window).records)
    assert not np.array_equal(order.records, pass_order(8, 1, LENGTHS, window).records)


def test_steps_continue_over_the_end_of_a_pass():
    total = sum(LENGTHS)
    seen = [record for step in range(total) for record in step_records(3, step, 4, LENGTHS)]
    assert sorted(seen) == sorted(list(range(total)) * 4)
    assert step_records(3, 5, 4, LENGTHS) == step_records(3, 5, 4, LENGTHS)


def test_the_shards_of_a_step_come_first_then_those_of_the_next_window():
    shard_of = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    for step in range(20):
        needed = needed_shards(1, step, 1, LENGTHS, 2)
        assert len(needed) == len(set(needed)) <= 4
        assert shard_of[step_records(1, step, 1, LENGTHS, 2)[0]] in needed[:2]
        assert shard_of[step_records(1, step + 1, 1, LENGTHS, 2)[0]] in needed
