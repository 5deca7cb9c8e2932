"""A step is taken whole or not at all, by all replicas alike; clipped where asked; in parts, by the mean of theirs."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from focus_ray import model
from focus_ray.focus.camera import Camera
from focus_ray.focus.initialise import sum_terms
from focus_ray.focus.pooled_ratio import PooledRatio, pooled_mean
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition
from focus_ray.focus.state import StepLoss, StepMetrics, Targets, TrainState, batch_slices, mask_share, optimize_step

MODEL = model.ModelSettings(
    camera=Camera(image_size=32),
    encoder=model.EncoderSettings(kind="small", width=4),
    segmenter=model.SegmenterSettings(width=4, levels=2),
    perceptual=model.PerceptualSettings(kind="warmup_encoder"),
)
FIRST = SchedulePosition(Phase.INIT, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=0)
PLAIN = OptimizerSettings(lr=0.1)


@pytest.fixture
def state(ellipsoid_face) -> TrainState:
    return TrainState(model.build(MODEL, ellipsoid_face, perceptual=False))


class Two(nn.Module):
    """Two numbers that are trained."""

    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.tensor([1.0, 2.0]))


def down(
    state: TrainState,
    network: nn.Module,
    loss: Callable[[], torch.Tensor],
    settings: OptimizerSettings = PLAIN,
    position: SchedulePosition = FIRST,
) -> StepMetrics:
    """One step of `network` down a loss that is one image's."""

    def objective(learner: nn.Module, rows: slice) -> StepLoss:
        assert learner is network
        assert rows == slice(0, 1)
        return StepLoss({"loss": pooled_mean(loss(), 1)}, sum_terms)

    return optimize_step(state, position, network, settings, 1, objective)


def step(state: TrainState, network: Two, slope: list[float], **settings) -> torch.Tensor:
    """One step down a plane; the first moment that Adam keeps, which is a tenth of the gradient it was given."""
    plane = torch.tensor(slope)
    metrics = down(state, network, lambda: (network.point * plane).sum(), OptimizerSettings(**{"lr": 0.1, **settings}))
    assert not metrics.skipped
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
    falling = OptimizerSettings(lr=0.1, shape="steps", decay=0.5, decay_every=5000)
    metrics = down(state, network, lambda: (network.point * torch.tensor([1.0, -1.0])).sum(), falling, late)
    assert not metrics.skipped
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
    before, seen = copy.deepcopy(network.state_dict()), []

    def broken() -> torch.Tensor:
        loss = network(torch.tensor([[1.0, 2.0], [3.0, 5.0]])).square().sum()
        assert not torch.equal(network[1].running_mean, before["1.running_mean"])  # the forward pass moved it
        seen.append(BROKEN[what](loss, network[0].weight))
        return seen[-1]

    assert down(state, network, broken).skipped
    assert [bool(torch.isfinite(total)) for total in seen] == [what.startswith("the gradient")]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not state.optimizers[Phase.INIT].state  # no moment of it either


def test_a_step_that_is_taken_keeps_the_new_running_statistics(state):
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = copy.deepcopy(network.state_dict())
    assert not down(state, network, lambda: network(torch.tensor([[1.0, 2.0], [3.0, 5.0]])).pow(3).sum()).skipped
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"} <= moved


def test_a_skipped_step_leaves_the_next_one_as_if_it_had_not_been(state, ellipsoid_face):
    other = TrainState(model.build(MODEL, ellipsoid_face, perceptual=False))
    networks = Two(), Two()
    step(state, networks[0], [3.0, 4.0])
    step(other, networks[1], [3.0, 4.0])
    assert down(state, networks[0], lambda: networks[0].point.sum() * torch.nan).skipped
    step(state, networks[0], [-1.0, 2.0])
    step(other, networks[1], [-1.0, 2.0])
    assert torch.equal(networks[0].point, networks[1].point)


def test_optimisers_of_finished_phases_are_dropped_and_those_of_em_are_kept(state):
    settings, network = OptimizerSettings(lr=0.1), Two()
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
    assert float(mask_share(mask, region).ratio()) == pytest.approx((2 + 8 * 0.875) / 18)


def test_the_mean_mask_of_no_face_is_zero():
    assert float(mask_share(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)).ratio()) == 0.0


def test_the_mean_mask_has_no_gradient():
    mask = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    assert not mask_share(mask, torch.ones(1, 1, 4, 4)).ratio().requires_grad


@pytest.mark.parametrize("broken", [False, True])
def test_a_step_tells_numbers_and_whether_it_was_skipped(state, broken):
    network = Two()

    def objective(learner: nn.Module, _: slice) -> StepLoss:
        value = learner.point.square().sum() * (torch.nan if broken else 1.0)
        terms = {"nbr": PooledRatio(value, torch.tensor(2.0))}
        return StepLoss(terms, lambda values: 4 * values["nbr"], PooledRatio(torch.tensor(3.0), torch.tensor(4.0)))

    metrics = optimize_step(state, FIRST, network, OptimizerSettings(lr=0.1), 1, objective)
    assert metrics.skipped is broken
    assert metrics.losses == pytest.approx(
        {"nbr": torch.nan if broken else 2.5, "total": torch.nan if broken else 10.0}, nan_ok=True
    )
    assert all(type(value) is float for value in metrics.losses.values())
    assert metrics.mask_mean == 0.75


def test_a_step_without_a_mask_has_no_mean_mask(state):
    network = Two()
    assert down(state, network, lambda: network.point.sum()).mask_mean is None


def test_a_network_that_rested_learns_again(state):
    network = Two().eval().requires_grad_(False)
    assert not down(state, network, lambda: network.point.sum()).skipped
    assert network.training
    torch.testing.assert_close(network.point.detach(), torch.tensor([0.9, 1.9]))


# Parts of a batch.


@given(count=st.integers(1, 200), number=st.integers(1, 60))
def test_parts_lie_side_by_side_and_none_is_empty(count: int, number: int):
    rows = batch_slices(count, number)
    assert [item for part in rows for item in range(part.start, part.stop)] == list(range(count))
    sizes = [part.stop - part.start for part in rows]
    assert len(sizes) == min(number, count)
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


IMAGES = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def accumulated(state: TrainState, number: int, weights: torch.Tensor) -> tuple[StepMetrics, torch.Tensor, list[slice]]:
    """One step over IMAGES in parts: what it tells, Adam's first moment, and the parts. Weights are denominators."""
    network, seen = Two(), []

    def objective(learner: nn.Module, rows: slice) -> StepLoss:
        seen.append(rows)
        value = (weights[rows] * (learner.point[0] * IMAGES[rows]).square()).sum()
        return StepLoss(
            {"loss": PooledRatio(value, weights[rows].sum())},
            sum_terms,
            PooledRatio(IMAGES[rows].sum(), weights[rows].sum()),
        )

    state.accumulation_steps = number
    metrics = optimize_step(state, FIRST, network, OptimizerSettings(lr=0.1, clip_norm=None), len(IMAGES), objective)
    return metrics, state.optimizers.pop(Phase.INIT).state[network.point]["exp_avg"], seen


@pytest.mark.parametrize("number", [2, 3, 6, 100])
def test_equal_parts_with_constant_denominators_take_the_step_of_the_whole_batch(state, number):
    whole, moment, _ = accumulated(state, 1, torch.ones(6))
    metrics, other, seen = accumulated(state, number, torch.ones(6))
    assert len(seen) == min(number, 6)
    torch.testing.assert_close(other, moment)
    assert metrics.losses == pytest.approx(whole.losses)
    assert metrics.mask_mean == pytest.approx(whole.mask_mean)


def test_otherwise_the_step_follows_the_mean_of_the_losses_of_the_parts(state):
    weights = torch.tensor([1.0, 1.0, 1.0, 5.0, 2.0, 3.0])
    metrics, moment, seen = accumulated(state, 2, weights)
    means = [float((weights[rows] * IMAGES[rows].square()).sum() / weights[rows].sum()) for rows in seen]
    expected = sum(means) / 2
    assert metrics.losses == pytest.approx({"loss": expected, "total": expected})
    assert metrics.mask_mean == pytest.approx(sum(float(IMAGES[rows].sum() / weights[rows].sum()) for rows in seen) / 2)
    torch.testing.assert_close(moment, torch.tensor([0.1 * 2 * expected, 0.0]))
    assert expected != pytest.approx(accumulated(state, 1, weights)[0].losses["loss"], rel=1e-2)


def test_a_step_in_parts_is_skipped_whole_where_the_last_part_is_broken(state):
    network = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2))
    before = copy.deepcopy(network.state_dict())
    images = torch.tensor([[1.0], [2.0], [3.0], [torch.nan]])

    def objective(learner: nn.Module, rows: slice) -> StepLoss:
        return StepLoss({"loss": pooled_mean(learner(images[rows]).square().mean(), 2)}, sum_terms)

    state.accumulation_steps = 2
    assert optimize_step(state, FIRST, network, OptimizerSettings(lr=0.1), 4, objective).skipped
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


# Rows of a batch.


def test_rows_of_targets_know_their_number_in_the_global_batch():
    whole = Targets(torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2), torch.rand(5, 68, 2), first_index=10)
    assert Targets(*whole[:2]).first_index == 0
    part = whole.rows(slice(2, 5)).rows(slice(1, 3))
    assert part.first_index == 13
    assert part.images[:, 0, 0, 0].tolist() == [3.0, 4.0]
    assert torch.equal(part.landmarks, whole.landmarks[3:5])
    assert whole.rows(slice(None, 2)).first_index == 10


def test_targets_keep_their_number_on_another_device():
    moved = Targets(torch.rand(1, 3, 2, 2), torch.rand(1, 68, 2), first_index=4).to(torch.device("meta"))
    assert moved.images.device.type == moved.landmarks.device.type == "meta"
    assert moved.first_index == 4
    assert moved.masks is None


def test_masks_go_with_their_pictures():
    masks = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 2)
    whole = Targets(torch.rand(5, 3, 2, 2), torch.rand(5, 68, 2), masks=masks)
    part = whole.rows(slice(1, 3)).to(torch.device("cpu"))
    assert part.masks is not None
    assert torch.equal(part.masks, masks[1:3])


# Several replicas. Batch norm is synchronised where nothing else is said.

GROUPS = (2, pytest.param(3, marks=pytest.mark.drill))


def relative(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], start: str) -> float:
    """The norm of the difference over the norm, of everything whose name begins like this."""
    assert found.keys() == expected.keys()
    names = [name for name in expected if name.startswith(start)]
    ours, right = (torch.cat([values[name].double().flatten() for name in names]) for values in (found, expected))
    assert right.norm() > 0
    return float((ours - right).norm() / right.norm())


@pytest.mark.parametrize("world", GROUPS)
@pytest.mark.parametrize("phase", Phase)
def test_replicas_take_the_steps_of_one_process_with_the_whole_batch(played, phase, world):
    """Gradients, parameters, running statistics, and every number told, in double precision.

    Masks are made in single precision; where a value lies on the edge of two, they differ by one unit of it.
    """
    (whole,) = played(f"step_{phase}", 1)
    told = [name for name in whole if "/told/" in name]
    assert {"1/told/losses/total", "2/told/losses/total", "2/told/skipped"} <= set(told)
    assert ("2/told/mask_mean" in told) is (phase is not Phase.WARMUP)
    assert ("2/told/area_weight" in told) is (phase is Phase.EM_SEG)
    assert not whole["1/told/skipped"]
    for replica in played(f"step_{phase}", world):
        assert relative(replica, whole, "moments/") < 1e-6
        assert relative(replica, whole, "kept/") < 1e-7
        for name in told:
            assert float(replica[name]) == pytest.approx(float(whole[name]), rel=1e-7, abs=1e-12), name


@pytest.mark.parametrize("world", GROUPS)
def test_replicas_go_through_all_phases_as_one_process_does(played, world):
    """In single precision, by Adadelta: Adam would make steps of the noise in gradients that are zero."""
    (whole,) = played("a_run", 1)
    copies = played("a_run", world)
    for replica in copies:
        assert relative(replica, whole, "encoder/") < 1e-4
        assert relative(replica, whole, "segmenter/") < 1e-4
        for name in (name for name in whole if "/told/" in name):
            assert float(replica[name]) == pytest.approx(float(whole[name]), rel=1e-3, abs=1e-6), name
            assert torch.equal(replica[name], copies[0][name])  # all decide from the same numbers
    for name, value in copies[0].items():
        assert all(torch.equal(replica[name], value) for replica in copies), name


@pytest.mark.parametrize("world", [1, *GROUPS])
@pytest.mark.parametrize("phase", [Phase.INIT, Phase.PRETRAIN_SEG, Phase.EM_SEG, Phase.EM_FACE])
def test_one_replicas_broken_picture_makes_all_of_them_skip_the_step(played, phase, world):
    (whole,) = played("poison", 1)
    for replica in played("poison", world):
        assert replica[f"{phase}/broken/told/skipped"]
        assert replica[f"{phase}/unchanged"].all()
        assert float(replica[f"{phase}/broken/told/area_weight"]) == 0.3
        assert not replica[f"{phase}/after/told/skipped"]
        total = f"{phase}/after/told/losses/total"
        assert float(replica[total]) == pytest.approx(float(whole[total]), rel=1e-5)


@pytest.mark.parametrize("world", [1, *GROUPS])
def test_one_replicas_broken_gradient_makes_all_of_them_skip_the_step(played, world):
    for replica in played("broken_gradient", world):
        assert torch.isfinite(replica["told/losses/total"])
        assert replica["told/skipped"]
        assert float(replica["weight"]) == 2.0


@pytest.mark.parametrize("world", GROUPS)
def test_where_each_replica_normalises_its_own_part_all_keep_the_leaders_statistics(played, world):
    leader, *others = played("own_batch_norm", world)
    statistics = [name for name in leader if name.startswith("together/") and "running_" in name]
    assert len(statistics) > 30
    for replica in others:
        together = [name for name in leader if name.startswith("together/")]
        assert all(torch.equal(replica[name], leader[name]) for name in together)
    # After its first step a network's statistics are those of the leader's own pictures.
    for name in statistics:
        if ".encoder." in name:
            torch.testing.assert_close(leader[name], leader[name.replace("together", "alone")])
    moved = [not torch.allclose(others[0][name], others[0][name.replace("together", "alone")]) for name in statistics]
    assert any(moved)


@pytest.mark.parametrize("world", [1, *GROUPS])
@pytest.mark.parametrize("way", ["parts", "shared"])
def test_replicas_that_accumulate_take_the_step_of_the_whole_batch(played, way, world):
    """Also where gradients are shared after the last part only."""
    (whole,) = played("accumulation", 1)
    right = {name.removeprefix("whole/"): value for name, value in whole.items() if name.startswith("whole/")}
    for replica in played("accumulation", world):
        found = {name.removeprefix(f"{way}/"): value for name, value in replica.items() if name.startswith(f"{way}/")}
        assert relative(found, right, "moments/") < 1e-4
        for name in (name for name in right if name.startswith("told/")):
            assert float(found[name]) == pytest.approx(float(right[name]), rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("world", GROUPS)
def test_replicas_with_shares_of_different_size_accumulate_in_the_same_number_of_parts(played, world):
    first, *others = played("ragged_parts", world)
    assert not first["told/skipped"]
    assert all(torch.equal(replica[name], value) for replica in others for name, value in first.items())
