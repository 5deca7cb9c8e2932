"""Our optimisers take the steps of torch's own, bit for bit, and go on from what those saved."""

import copy
import subprocess

import pytest
import torch
from torch import nn

from focus_ray.focus.optimizers import RULES

THEIRS = {"adam": torch.optim.Adam, "adadelta": torch.optim.Adadelta}
RATES = [0.1, 0.01, 0.02, 0.3]


def network() -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5))
    return net.to(memory_format=torch.channels_last)


def train(net: nn.Module, optimizer, steps: range) -> None:
    """Some steps at rates that change; the bias of the last layer has a gradient in every other one."""
    for step in steps:
        loss = net(torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))).square().mean()
        for parameter in net.parameters():
            parameter.grad = None
        loss.backward()
        if step % 2:
            net[3].bias.grad = None
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.param_groups[0]["lr"] = RATES[step % 4]
        else:
            optimizer.lr = RATES[step % 4]
        optimizer.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_those_of_torch(rule):
    ours, theirs = network(), network()
    mine, reference = RULES[rule](ours.parameters(), 0.1), THEIRS[rule](theirs.parameters(), lr=0.1)
    train(ours, mine, range(12))
    train(theirs, reference, range(12))
    assert equal(ours, theirs)
    assert not equal(ours, network())
    saved, expected = mine.state_dict()["state"], reference.state_dict()["state"]
    assert saved.keys() == expected.keys()
    for number, kept in expected.items():
        assert saved[number].keys() == kept.keys()
        assert all(torch.equal(saved[number][name], value) for name, value in kept.items())


@pytest.mark.parametrize("rule", RULES)
def test_a_state_saved_by_torch_is_gone_on_with(rule):
    theirs = network()
    reference = THEIRS[rule](theirs.parameters(), lr=0.1)
    train(theirs, reference, range(5))
    ours = copy.deepcopy(theirs)
    mine = RULES[rule](ours.parameters(), 0.5)
    mine.load_state_dict(reference.state_dict())
    train(theirs, reference, range(5, 9))
    train(ours, mine, range(5, 9))
    assert equal(ours, theirs)


@pytest.mark.parametrize("rule", RULES)
def test_a_state_of_ours_is_gone_on_with(rule):
    ours = network()
    mine = RULES[rule](ours.parameters(), 0.1)
    train(ours, mine, range(5))
    again = copy.deepcopy(ours)
    other = RULES[rule](again.parameters(), 0.1)
    other.load_state_dict(copy.deepcopy(mine.state_dict()))
    train(ours, mine, range(5, 9))
    train(again, other, range(5, 9))
    assert equal(ours, again)


@pytest.mark.parametrize("rule", RULES)
def test_a_loaded_state_is_its_own(rule):
    net = network()
    mine, other = RULES[rule](net.parameters(), 0.1), RULES[rule](net.parameters(), 0.1)
    train(net, mine, range(2))
    other.load_state_dict(mine.state_dict())
    kept = copy.deepcopy(other.state_dict()["state"])
    train(net, mine, range(2, 4))
    now = other.state_dict()["state"]
    assert all(torch.equal(now[number][name], value) for number in kept for name, value in kept[number].items())


@pytest.mark.parametrize("rule", RULES)
def test_a_state_of_other_parameters_is_refused(rule):
    net = network()
    mine = RULES[rule](net.parameters(), 0.1)
    train(net, mine, range(1))
    with pytest.raises(ValueError, match="parameters"):
        RULES[rule]([*net.parameters()][1:], 0.1).load_state_dict(mine.state_dict())
    with pytest.raises(ValueError, match="shape"):
        RULES[rule]([*net.parameters()][::-1], 0.1).load_state_dict(mine.state_dict())


def test_no_compiler_is_imported(python, python_environment):
    program = (
        "import sys, torch\n"
        "from focus_ray.focus.optimizers import Adam\n"
        "point = torch.nn.Parameter(torch.zeros(3))\n"
        "optimizer = Adam([point], 0.1)\n"
        "point.sum().backward()\n"
        "torch.nn.utils.clip_grad_norm_([point], 1.0)\n"
        "optimizer.step()\n"
        "optimizer.zero_grad()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([python, "-c", program], env=python_environment, check=True, timeout=120)
