"""A step is taken whole or not at all, clipped where that is asked for; optimisers of finished phases are dropped."""

import copy

import pytest
import torch
from torch import nn

from focus_ray import model
from focus_ray.focus.face.camera import Camera
from focus_ray.focus.schedule import Optimizer, Phase, Position
from focus_ray.focus.state import TrainState, descend, mask_mean, report, running_statistics

MODEL = model.ModelSettings(
    camera=Camera(image_size=32),
    encoder=model.EncoderSettings(kind="small", width=4),
    segmenter=model.SegmenterSettings(width=4, levels=2),
    perceptual=model.PerceptualSettings(kind="warmup_encoder"),
)
FIRST = Position(Phase.INIT, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=0)


@pytest.fixture
def state(toy_model) -> TrainState:
    return TrainState(model.build(MODEL, toy_model, perceptual=False))


class Two(nn.Module):
    """Two numbers that are trained."""

    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.tensor([1.0, 2.0]))


def step(state: TrainState, network: Two, slope: list[float], **settings) -> torch.Tensor:
    """One step down a plane; the first moment that Adam keeps, which is a tenth of the gradient it was given."""
    total = (network.point * torch.tensor(slope)).sum()
    assert descend(state, FIRST, network, Optimizer(**{"lr": 0.1, **settings}), total, {})
    return state.optimizers[Phase.INIT].state[network.point]["exp_avg"]


def test_a_gradient_longer_than_the_limit_is_cut_to_it(state):
    moment = step(state, Two(), [3.0, 4.0], clip_norm=2.0)
    torch.testing.assert_close(moment, 0.1 * torch.tensor([1.2, 1.6]))


def test_a_gradient_shorter_than_the_limit_is_kept(state):
    moment = step(state, Two(), [0.3, 0.4], clip_norm=2.0)
    torch.testing.assert_close(moment, 0.1 * torch.tensor([0.3, 0.4]))


def test_without_a_limit_nothing_is_clipped(state):
    moment = step(state, Two(), [3e6, 4e6], clip_norm=None)
    torch.testing.assert_close(moment, 0.1 * torch.tensor([3e6, 4e6]))


def test_a_step_has_the_rate_of_its_position(state):
    """Adam's first step is as long as its rate, in each coordinate."""
    network = Two()
    late = FIRST._replace(in_phase=7000, phase_total=10_000, in_stage=7000)
    falling = Optimizer(lr=0.1, shape="steps", decay=0.5, decay_every=5000)
    assert descend(state, late, network, falling, (network.point * torch.tensor([1.0, -1.0])).sum(), {})
    torch.testing.assert_close(network.point.detach(), torch.tensor([0.95, 2.05]))


def still(parameter: torch.Tensor) -> torch.Tensor:
    """Zeros, to be differentiated by the parameter."""
    return parameter - parameter.detach()


BROKEN = {
    "the loss is no number": lambda loss, parameter: loss * torch.nan,
    "the loss is infinite": lambda loss, parameter: loss + torch.inf,
    "the gradient is no number": lambda loss, parameter: loss + 0.0 * still(parameter).square().sum().sqrt(),
    "the gradient is infinite": lambda loss, parameter: loss + still(parameter).clamp_min(0).sqrt().sum(),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_step_is_skipped_whole(state, what):
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    network[1].running_mean.fill_(0.5)
    before, buffers = copy.deepcopy(network.state_dict()), running_statistics(network)
    loss = network(torch.tensor([[1.0, 2.0], [3.0, 5.0]])).square().sum()
    assert not torch.equal(network[1].running_mean, before["1.running_mean"])  # the forward pass moved it
    total = BROKEN[what](loss, network[0].weight)
    assert bool(torch.isfinite(total)) is what.startswith("the gradient")

    assert not descend(state, FIRST, network, Optimizer(lr=0.1), total, buffers)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not state.optimizers[Phase.INIT].state  # no moment of it either


def test_a_step_that_is_taken_keeps_the_new_running_statistics(state):
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before, buffers = copy.deepcopy(network.state_dict()), running_statistics(network)
    loss = network(torch.tensor([[1.0, 2.0], [3.0, 5.0]])).pow(3).sum()
    assert descend(state, FIRST, network, Optimizer(lr=0.1), loss, buffers)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"} <= moved


def test_a_skipped_step_leaves_the_next_one_as_if_it_had_not_been(state, toy_model):
    other = TrainState(model.build(MODEL, toy_model, perceptual=False))
    networks = Two(), Two()
    step(state, networks[0], [3.0, 4.0])
    step(other, networks[1], [3.0, 4.0])
    assert not descend(state, FIRST, networks[0], Optimizer(lr=0.1), networks[0].point.sum() * torch.nan, {})
    step(state, networks[0], [-1.0, 2.0])
    step(other, networks[1], [-1.0, 2.0])
    assert torch.equal(networks[0].point, networks[1].point)


def test_optimisers_of_finished_phases_are_dropped_and_those_of_em_are_kept(state):
    settings, network = Optimizer(lr=0.1), Two()
    kept = []
    for phase in Phase:
        state.optimizer(phase, settings, network.parameters())
        kept.append(set(state.optimizers))
    em = {Phase.EM_SEG, Phase.EM_FACE}
    assert kept == [{Phase.WARMUP}, {Phase.INIT}, {Phase.PRETRAIN_SEG}, {Phase.EM_SEG}, em]
    of_s = state.optimizers[Phase.EM_SEG]
    assert state.optimizer(Phase.EM_SEG, settings, network.parameters()) is of_s  # the next cycle goes on with it
    assert set(state.optimizers) == em


def test_the_mean_mask_counts_the_rendered_pixels_of_the_batch_alike():
    mask, region = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    region[0, 0, 0, :2] = region[1, 0, :, :] = 1
    mask[0, 0, 0, :2] = 1.0
    mask[1, 0, :2, :] = 0.875
    assert mask_mean(mask, region) == pytest.approx((2 + 8 * 0.875) / 18)


def test_the_mean_mask_of_no_face_is_zero():
    assert mask_mean(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)) == 0.0


def test_a_report_holds_numbers_and_says_what_was_skipped():
    loss = torch.tensor(2.5, requires_grad=True)
    metrics = report({"nbr": loss}, 4 * loss, taken=False, mean=None)
    assert metrics.losses == {"nbr": 2.5, "total": 10.0}
    assert metrics.skipped
    assert metrics.mask_mean is None
