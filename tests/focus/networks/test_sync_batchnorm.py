"""Batch norm of copies is the batch norm of their batches joined: output, gradients, running statistics."""

import copy

import pytest
import torch
from torch import nn

from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.networks.sync_batchnorm import SyncBatchNorm2d, convert_sync_batchnorm

TOLERANCES = {"batch_norm": 1e-12, "batch_norm_plain_average": 1e-12, "batch_norm_float32": 2e-6}


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.drill)])
@pytest.mark.parametrize("scenario", TOLERANCES)
def test_copies_normalise_as_one_does_all_their_images(played, scenario, world):
    (whole,), copies = played(scenario, 1), played(scenario, world)
    assert len({len(replica["output"]) for replica in copies}) == 2  # uneven parts
    assert all(replica["synchronised"].all() for replica in copies)
    for name in ("output", "evaluated", "images.grad"):
        joined = torch.cat([replica[name] for replica in copies])
        assert relative(joined, whole[name]) < TOLERANCES[scenario], name
    for name in ("weight.grad", "bias.grad"):  # each copy has its own part's
        assert relative(sum(replica[name] for replica in copies), whole[name]) < TOLERANCES[scenario], name
    for replica in copies:
        for name in ("running_mean", "running_var"):
            assert relative(replica[name], whole[name]) < TOLERANCES[scenario], name
        assert replica["num_batches_tracked"] == whole["num_batches_tracked"] == 3


def trained() -> nn.Module:
    """A UNet whose statistics are no longer the first ones."""
    network = UNet(width=4, levels=2, dropout=0.0)
    network(*torch.rand(2, 2, 3, 8, 8))
    return network


def test_every_batch_norm_is_replaced_and_nothing_else_changes():
    network = trained()
    before = dict(network.state_dict())
    count = sum(type(module) is nn.BatchNorm2d for module in network.modules())
    assert convert_sync_batchnorm(network) is network
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(SyncBatchNorm2d) == count == 7
    assert nn.BatchNorm2d not in kinds
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_parameters_stay_the_ones_that_an_optimiser_has():
    network = trained()
    parameters = list(network.parameters())
    assert all(
        one is other for one, other in zip(convert_sync_batchnorm(network).parameters(), parameters, strict=True)
    )


def test_momentum_eps_and_mode_are_kept():
    (norm,) = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.4)).eval())
    assert (norm.eps, norm.momentum, norm.training) == (1e-3, 0.4, False)


def test_group_norm_is_left_as_it_is():
    network = UNet(width=8, levels=2, norm="group")
    kinds = [type(module) for module in network.modules()]
    assert [type(module) for module in convert_sync_batchnorm(network).modules()] == kinds


def test_a_process_by_itself_normalises_bit_for_bit_as_before():
    plain = trained().train()
    twin = convert_sync_batchnorm(copy.deepcopy(plain))
    images = torch.rand(2, 2, 3, 8, 8)
    for mode in (True, False):
        assert torch.equal(twin.train(mode)(*images), plain.train(mode)(*images))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in twin.state_dict().items())
