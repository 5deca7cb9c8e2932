"""The loop trains the network whose turn it is, resumes bit for bit, and obeys the guard."""

import copy
import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from focus_ray.config import Optimizers
from focus_ray.errors import MaskCollapse, NonFiniteLoss
from focus_ray.focus import em
from focus_ray.focus.guard import GuardSettings
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.focus.schedule import OptimizerSettings, Phase
from focus_ray.focus.state import Targets
from focus_ray.storage import checkpoint
from focus_ray.training.loop import load_state_tree, state_tree, train_steps

FACE_PHASES = {Phase.WARMUP, Phase.INIT, Phase.EM_FACE}


def parameters(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in network.state_dict().values()])


def with_guard(miniature, **settings):
    miniature.config = miniature.config.model_copy(update={"guard": GuardSettings(**settings)})
    return miniature


def test_each_phase_trains_its_network_and_leaves_the_other_one_alone(miniature):
    state = miniature.state()
    encoder, segmenter = parameters(state.focus.encoder), parameters(state.focus.segmenter)
    for record in train_steps(state, miniature.config, miniature.targets_of, miniature.guard()):
        moved = (
            not torch.equal(parameters(state.focus.encoder), encoder),
            not torch.equal(parameters(state.focus.segmenter), segmenter),
        )
        assert moved == ((True, False) if record.position.phase in FACE_PHASES else (False, True)), record
        encoder, segmenter = parameters(state.focus.encoder), parameters(state.focus.segmenter)


def test_losses_are_named_by_the_papers_symbols(miniature):
    seen: dict[Phase, set[str]] = {}
    before = time.time() - 0.001  # lines are rounded to ms
    for record in train_steps(miniature.state(), miniature.config, miniature.targets_of, miniature.guard()):
        line = record.line()
        assert before <= line["time"] <= time.time() + 0.001
        before = line["time"]
        seen[record.position.phase] = set(line["loss"])
        assert set(line) == {
            "step", "phase", "loss", "mask_mean", "skipped", "seconds", "data_seconds", "images_per_s", "time"
        }  # fmt: skip
    assert seen[Phase.EM_SEG] == {"nbr", "dist", "area", "presv", "bin", "total"}
    assert seen[Phase.EM_FACE] == seen[Phase.INIT] == {"pixel", "per", "lm", "reg", "total"}


def test_the_warmup_encoder_becomes_the_perceptual_network_and_stays_as_it_was(miniature):
    state = miniature.state()
    frozen = None
    for record in train_steps(state, miniature.config, miniature.targets_of, miniature.guard()):
        if record.position.phase is Phase.INIT and frozen is None:
            frozen = parameters(state.focus.perceptual)
    assert torch.equal(parameters(state.focus.perceptual), frozen)


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """The leaves of a state tree by path."""
    if isinstance(tree, dict):
        return {path: leaf for key, value in tree.items() for path, leaf in flat(value, f"{name}/{key}").items()}
    if isinstance(tree, list):
        return flat(dict(enumerate(tree)), name)
    return {name: tree}


def ends(miniature, folder: Path, cut: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The state at `cut`, at the end of a straight run, and at the end of one that was resumed from that checkpoint."""
    shorter = miniature.config.em.model_copy(update={"refined_comparison": RefineSettings(steps=2)})
    miniature.config = miniature.config.model_copy(update={"em": shorter})

    targets_of = functools.cache(miniature.targets_of)  # draws from torch's random numbers in the first run only
    straight, guard = miniature.state(), miniature.guard()
    for _ in train_steps(straight, miniature.config, targets_of, guard):
        if straight.step == cut:
            checkpoint.save(folder / "cut", state_tree(straight, guard))
    end = flat(state_tree(straight, guard))
    torch.manual_seed(99)  # whatever happened in between

    resumed, guard = miniature.state(), miniature.guard()
    tree = checkpoint.load(folder / "cut")
    load_state_tree(resumed, guard, miniature.config, tree)
    for _ in train_steps(resumed, miniature.config, targets_of, guard):
        pass
    return flat(tree), end, flat(state_tree(resumed, guard))


def test_a_checkpoint_holds_no_random_state(miniature):
    state = miniature.state()
    names = set(state_tree(state, miniature.guard()))
    assert names == {
        "step", "encoder", "segmenter", "perceptual", "optimizers", "area_weight", "good_segmenter", "resting_cycle",
        "guard",
    }  # fmt: skip


def test_replicas_draw_random_numbers_of_their_own(miniature):
    """Dropout of two replicas that look at the same pictures: another pattern, the same again in the next run."""

    def first_loss(rank: int) -> float:
        state = miniature.state()
        state.process_group = OneOfTwo(rank)
        taken = train_steps(state, miniature.config, miniature.targets_of, miniature.guard())
        return next(r.metrics.losses["total"] for r in taken if r.position.phase is Phase.PRETRAIN_SEG)

    with_dropout(miniature)
    assert first_loss(0) == first_loss(0)
    assert first_loss(0) != first_loss(1)


class OneOfTwo(ReplicaGroup):
    """A replica by its number, that hears nothing of the other one and looks at every picture."""

    def __init__(self, rank: int):
        super().__init__()
        self.rank = rank

    def shard(self, count: int) -> range:
        return range(count)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        assert same, name


def with_dropout(miniature):
    """A segmenter that draws random numbers whenever it learns."""
    networks = miniature.config.model
    segmenter = networks.segmenter.model_copy(update={"dropout": 0.5})
    changes = {"model": networks.model_copy(update={"segmenter": segmenter})}
    miniature.config = miniature.config.model_copy(update=changes)
    return miniature


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 9, 12])
def test_a_run_resumed_from_a_checkpoint_ends_like_one_that_was_not_cut(miniature, tmp_path, cut):
    """A cut in the middle of each phase, and of the second cycle: the same parameters, bit for bit, and the rest."""
    _, straight, resumed = ends(miniature, tmp_path, cut)
    assert_same(straight, resumed)


@pytest.mark.parametrize("cut", [5, 7])
def test_random_numbers_go_on_where_they_were_cut(miniature, tmp_path, cut):
    _, straight, resumed = ends(with_dropout(miniature), tmp_path, cut)
    assert_same(straight, resumed)


@pytest.mark.parametrize("cut", [5, 12])
def test_a_run_with_the_authors_optimiser_is_resumed_alike(miniature, tmp_path, cut):
    rule = OptimizerSettings(rule="adadelta", lr=0.1, shape="steps", decay=0.5, decay_every=3, clip_norm=None)
    optimizers = Optimizers(**{str(phase): rule for phase in Phase})
    miniature.config = miniature.config.model_copy(update={"optimizers": optimizers})
    at_cut, straight, resumed = ends(miniature, tmp_path, cut)
    assert any(name.endswith("acc_delta") for name in at_cut)
    assert_same(straight, resumed)


@pytest.mark.parametrize("action", ["restore", "recalibrate"])
@pytest.mark.parametrize("cut", [7, 11])
def test_a_run_is_resumed_alike_after_a_guard_spoke(miniature, tmp_path, action, cut):
    """It spoke in the step before the cut: what it changed and counted travels along."""
    with_guard(miniature, low=0.0, high=0.001, window=1, max_events=9, action=action)
    at_cut, straight, resumed = ends(with_dropout(miniature), tmp_path, cut)
    assert at_cut["/guard/events/0/kind"] == "all_face"
    assert at_cut["/guard/events/0/step"] == 6
    assert any(name.startswith("/good_segmenter/") for name in at_cut)
    if action == "restore":
        assert at_cut["/resting_cycle"] == (1 if cut == 11 else 0)
    assert_same(straight, resumed)


def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(miniature):
    state, guard = miniature.state(), miniature.guard()

    def poisoned(step: int) -> Targets:
        targets = miniature.targets_of(step)
        return targets._replace(images=targets.images * float("nan")) if step == 3 else targets

    before = None
    for record in train_steps(state, miniature.config, poisoned, guard):
        if record.step == 2:
            before = parameters(state.focus.encoder)
        if record.step == 3:
            assert record.metrics.skipped
            assert torch.equal(parameters(state.focus.encoder), before)  # running statistics included
    assert guard.nonfinite_total == 1
    assert bool(torch.isfinite(parameters(state.focus.encoder)).all())


def test_too_many_such_steps_end_the_run(miniature):
    with_guard(miniature, max_nonfinite=2)

    def poisoned(step: int) -> Targets:
        targets = miniature.targets_of(step)
        return targets._replace(landmarks=targets.landmarks * float("inf"))

    records = []
    with pytest.raises(NonFiniteLoss):
        records.extend(train_steps(miniature.state(), miniature.config, poisoned, miniature.guard()))
    assert [(record.step, record.metrics.skipped) for record in records] == [
        (0, False), (1, False), (2, True), (3, True)
    ]  # fmt: skip


def collapsed(miniature, bias: float):
    """A state whose EM begins with a segmenter that says the same of every pixel."""
    state, guard = miniature.state(), miniature.guard()
    for _ in train_steps(state, miniature.config, miniature.targets_of, guard):
        if state.step == miniature.config.schedule.em_start:
            break
    collapse(state, bias)
    return state, guard


def collapse(state, bias: float) -> None:
    """A segmenter that says the same of every pixel, and is too sure to learn."""
    with torch.no_grad():
        state.focus.segmenter.last.bias.fill_(bias)
        state.focus.segmenter.last.weight.zero_()


@pytest.mark.parametrize("bias", [-3.0, 3.0])
def test_collapsed_masks_stop_the_run_where_that_is_asked_for(miniature, bias):
    with_guard(miniature, window=2, action="stop")
    state, guard = collapsed(miniature, bias)
    records = []
    with pytest.raises(MaskCollapse, match="all outlier" if bias < 0 else "all face"):
        records.extend(train_steps(state, miniature.config, miniature.targets_of, guard))
    assert [record.step for record in records] == [6, 7]  # also the one that ended it
    assert records[-1].metrics.mask_mean == pytest.approx(float(bias > 0), abs=1e-3)
    assert state.step == 8


def test_restore_brings_the_last_good_segmenter_back_and_lets_it_rest(miniature):
    with_guard(miniature, window=1, action="restore")
    state, guard = collapsed(miniature, -3.0)
    good = None
    records = []
    for record in train_steps(state, miniature.config, miniature.targets_of, guard):
        good = state.last_good_segmenter if good is None else good
        records.append(record)
        if record.position.cycle == 1:
            break
    assert records[0].event is not None
    assert torch.equal(state.focus.segmenter.last.bias, good["last.bias"])
    assert records[1].metrics.losses == {}  # the rest of the block is sat out


@pytest.mark.parametrize("after", [6, 7], ids=["before_the_last_step_of_the_block", "by_the_last_step_of_the_block"])
def test_restore_goes_back_before_a_collapse_at_the_end_of_a_healthy_block(miniature, after):
    """The window is full only in the next block: what that block began with is no good segmenter."""
    with_guard(miniature, window=2, action="restore")
    state, guard = miniature.state(), miniature.guard()
    good, restored = None, None
    for record in train_steps(state, miniature.config, miniature.targets_of, guard):
        if state.step == miniature.config.schedule.em_start:
            good = copy.deepcopy(state.focus.segmenter.state_dict())
        if record.step == after:
            assert 0.1 < guard.window[-1] < 0.9
            collapse(state, -3.0)
        if record.event is not None:
            restored = copy.deepcopy(state.focus.segmenter.state_dict())
    assert [(event.kind, event.action) for event in guard.events] == [("all_outlier", "restore")]
    assert all(torch.equal(value, good[name]) for name, value in restored.items())


def test_recalibration_sets_the_area_weight_by_the_rendering_that_s_compares_with(miniature):
    with_guard(miniature, window=1, action="recalibrate")
    settings = miniature.config.em.model_copy(update={"calibration": em.AreaCalibration(rate=0.25)})
    miniature.config = miniature.config.model_copy(update={"em": settings})
    state, guard = collapsed(miniature, 3.0)
    state.area_weight = 123.0
    record = next(iter(train_steps(state, miniature.config, miniature.targets_of, guard)))
    assert record.event is not None
    assert dataclasses.asdict(record.event)["action"] == "recalibrate"
    batch = miniature.targets_of(record.step)
    one_pass, compared = em.render_pair(state.focus, batch, settings)
    assert state.area_weight == em.calibrate_area_weight(batch, compared, settings)
    assert state.area_weight != pytest.approx(em.calibrate_area_weight(batch, one_pass, settings), rel=1e-3)


def test_without_calibration_the_guard_lets_s_rest_and_leaves_the_area_weight(miniature):
    with_guard(miniature, window=1, action="recalibrate")
    settings = miniature.config.em.model_copy(update={"calibration": None})
    miniature.config = miniature.config.model_copy(update={"em": settings})
    state, guard = collapsed(miniature, 3.0)
    record = next(iter(train_steps(state, miniature.config, miniature.targets_of, guard)))
    assert record.event is not None
    assert state.area_weight is None
    assert state.segmenter_frozen_cycle == record.position.cycle
