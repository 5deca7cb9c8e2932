"""Tests of focus_ray.data.sample."""

import torch

from focus_ray.data.sample import UNOCCLUDED, Batch, concatenate


def _batch(n=3, **extra):
    return Batch(images=torch.rand(n, 3, 8, 8), landmarks=torch.rand(n, 68, 2), **extra)


def test_select_takes_rows_in_the_named_order():
    batch = _batch(families=["hand", UNOCCLUDED, "bar"], masks=torch.rand(3, 1, 8, 8))
    chosen = batch.select([2, 0, 2])
    assert torch.equal(chosen.images, batch.images[[2, 0, 2]])
    assert chosen.families == ["bar", "hand", "bar"]
    assert chosen.masks is not None
    assert torch.equal(chosen.masks, batch.masks[[2, 0, 2]])
    assert chosen.theta is None
    assert len(chosen) == 3


def test_occluded_follows_from_the_families():
    assert _batch(families=["hand", UNOCCLUDED, "bar"]).occluded.tolist() == [True, False, True]
    assert _batch().occluded is None


def test_concatenate_undoes_a_split():
    batch = _batch(4, names=list("abcd"), theta=torch.rand(4, 257))
    joined = concatenate([batch.select([0]), batch.select([1, 2, 3])])
    assert torch.equal(joined.images, batch.images)
    assert torch.equal(joined.theta, batch.theta)
    assert joined.names == list("abcd")


def test_concatenate_knows_only_what_all_know():
    joined = concatenate([_batch(families=["bar"] * 3), _batch()])
    assert joined.families is None
    assert len(joined) == 6


def test_to_moves_tensors_and_keeps_the_rest():
    batch = _batch(names=["a", "b", "c"])
    moved = batch.to("cpu")
    assert torch.equal(moved.images, batch.images)
    assert moved.names == batch.names
    assert moved.masks is None
