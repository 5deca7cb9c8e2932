"""Copies of a run: who has which part of a batch, sums over all of them, and one that is alone talks to nobody."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from focus_ray.focus.pooled_ratio import PooledRatio
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup

GROUPS = (2, pytest.param(3, marks=pytest.mark.drill))


@given(world=st.integers(1, 40), count=st.integers(0, 500))
def test_shares_lie_side_by_side_cover_everything_and_differ_by_one_at_most(world: int, count: int):
    shares = [ReplicaGroup(rank, world).shard(count) for rank in range(world)]
    assert [item for share in shares for item in share] == list(range(count))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0), (1, 1)])
def test_a_rank_is_one_of_its_group(rank, world):
    with pytest.raises(ValueError, match=f"rank {rank} is outside 0..{world - 1}"):
        ReplicaGroup(rank, world)


def test_the_first_copy_leads():
    assert [ReplicaGroup(rank, 3).is_main for rank in range(3)] == [True, False, False]
    assert SINGLE_PROCESS.is_main


def test_a_copy_that_is_alone_hears_what_it_says():
    terms = {"nbr": PooledRatio(torch.tensor(3.0, requires_grad=True), torch.tensor(4.0))}
    assert SINGLE_PROCESS.all_reduce(terms) == terms
    values = torch.arange(3.0)
    assert torch.equal(SINGLE_PROCESS.all_gather(values), values)
    assert [SINGLE_PROCESS.all_reduce_any(flag) for flag in (True, False)] == [True, False]
    assert SINGLE_PROCESS.all_reduce_min(7) == 7


def test_the_learner_of_a_copy_that_is_alone_is_the_network():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    network[1].running_mean.fill_(0.5)
    assert SINGLE_PROCESS.wrap_ddp(network) is network
    with SINGLE_PROCESS.accumulate_gradients(network, sync=False):
        network(torch.rand(2, 1, 3, 3)).sum().backward()
    assert network[0].weight.grad is not None
    mean = network[1].running_mean.clone()
    SINGLE_PROCESS.broadcast_buffers(network)
    assert torch.equal(network[1].running_mean, mean)


@pytest.mark.parametrize("world", GROUPS)
def test_numerators_and_denominators_are_added_up_over_all_copies(played, world):
    ranks = range(world)
    numerator = sum((rank + 1) * (2 * rank + 1) for rank in ranks)
    denominator = sum(2 * rank + 1 for rank in ranks)
    for copy in played("pool", world):
        assert copy["names"].all()
        assert float(copy["numerator"]) == numerator
        assert float(copy["denominator"]) == denominator
        assert float(copy["ratio"]) == pytest.approx(numerator / denominator)
        assert float(copy["none"]) == 0.0


@pytest.mark.parametrize("world", GROUPS)
def test_each_copy_has_the_gradient_of_its_own_part_of_the_ratio(played, world):
    ranks = range(world)
    denominator = sum(2 * rank + 1 for rank in ranks)
    ratio = sum((rank + 1) * (2 * rank + 1) for rank in ranks) / denominator
    for rank, copy in enumerate(played("pool", world)):
        of_value, of_weight = (2 * rank + 1) / denominator, (rank + 1 - ratio) / denominator
        assert copy["gradient"].tolist() == pytest.approx([of_value, of_weight], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("world", GROUPS)
def test_values_are_gathered_however_many_a_copy_brings(played, world):
    for copy in played("gather", world):
        assert copy["uneven"].tolist() == [10.0, 20.0, 21.0][: world * (world - 1) // 2]
        assert copy["whole_numbers"].tolist() == [rank for rank in range(world) for _ in range(3 - rank)]
        assert copy["whole_numbers"].dtype == torch.int64
        assert copy["nothing"].tolist() == []
        assert copy["of_the_last"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("world", GROUPS)
def test_all_know_whether_any_said_so_and_the_smallest_number(played, world):
    for copy in played("votes", world):
        assert copy["any"].tolist() == [False, True, True]
        assert int(copy["smallest"]) == 10 - (world - 1)


@pytest.mark.parametrize("world", GROUPS)
def test_gradients_are_kept_until_the_part_in_which_they_are_shared(played, world):
    everyone = 2 * sum(range(1, world + 1)) / world  # of both parts, the mean over the copies
    for rank, copy in enumerate(played("gradients_kept", world)):
        assert copy["gradients"].tolist() == pytest.approx([rank + 1.0, everyone])


@pytest.mark.parametrize("world", GROUPS)
def test_all_begin_with_the_leaders_parameters(played, world):
    assert [float(copy["weight"]) for copy in played("leaders_parameters", world)] == [5.0] * world
