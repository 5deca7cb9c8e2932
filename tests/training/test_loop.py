"""The loop trains the network whose turn it is, resumes bit for bit, and obeys the guard."""

import dataclasses

import pytest
import torch

from focus_ray.errors import MaskCollapse, NonFiniteLoss
from focus_ray.focus.guard import GuardSettings
from focus_ray.focus.schedule import Phase
from focus_ray.focus.state import Targets
from focus_ray.storage import checkpoint
from focus_ray.training.loop import load_state_tree, state_tree, steps

FACE_PHASES = {Phase.WARMUP, Phase.INIT, Phase.EM_FACE}


def parameters(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in network.state_dict().values()])


def with_guard(miniature, **settings):
    miniature.config = miniature.config.model_copy(update={"guard": GuardSettings(**settings)})
    return miniature


def test_each_phase_trains_its_network_and_leaves_the_other_one_alone(miniature):
    state = miniature.state()
    encoder, segmenter = parameters(state.focus.encoder), parameters(state.focus.segmenter)
    for record in steps(state, miniature.config, miniature.targets_of, miniature.guard()):
        moved = (
            not torch.equal(parameters(state.focus.encoder), encoder),
            not torch.equal(parameters(state.focus.segmenter), segmenter),
        )
        assert moved == ((True, False) if record.position.phase in FACE_PHASES else (False, True)), record
        encoder, segmenter = parameters(state.focus.encoder), parameters(state.focus.segmenter)


def test_losses_are_named_by_the_papers_symbols(miniature):
    seen: dict[Phase, set[str]] = {}
    for record in steps(miniature.state(), miniature.config, miniature.targets_of, miniature.guard()):
        line = record.line()
        seen[record.position.phase] = set(line["loss"])
        assert set(line) == {
            "step", "phase", "loss", "mask_mean", "skipped", "seconds", "data_seconds", "images_per_s"
        }  # fmt: skip
    assert seen[Phase.EM_SEG] == {"nbr", "dist", "area", "presv", "bin", "total"}
    assert seen[Phase.EM_FACE] == seen[Phase.INIT] == {"pixel", "per", "lm", "reg", "total"}


def test_the_warmup_encoder_becomes_the_perceptual_network_and_stays_as_it_was(miniature):
    state = miniature.state()
    frozen = None
    for record in steps(state, miniature.config, miniature.targets_of, miniature.guard()):
        if record.position.phase is Phase.INIT and frozen is None:
            frozen = parameters(state.focus.perceptual)
    assert torch.equal(parameters(state.focus.perceptual), frozen)


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 9, 12])
def test_a_run_resumed_from_a_checkpoint_ends_like_one_that_was_not_cut(miniature, tmp_path, cut):
    """A cut in the middle of each phase, and of the second cycle: the same parameters, bit for bit."""
    straight, guard = miniature.state(), miniature.guard()
    for _ in steps(straight, miniature.config, miniature.targets_of, guard):
        if straight.step == cut:
            checkpoint.save(tmp_path / "cut", state_tree(straight, guard))
    torch.manual_seed(99)  # whatever happened in between

    resumed, guard = miniature.state(), miniature.guard()
    load_state_tree(resumed, guard, miniature.config, checkpoint.load(tmp_path / "cut"))
    for _ in steps(resumed, miniature.config, miniature.targets_of, guard):
        pass
    for name in ("encoder", "segmenter", "perceptual"):
        assert torch.equal(parameters(getattr(straight.focus, name)), parameters(getattr(resumed.focus, name))), name


def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(miniature):
    state, guard = miniature.state(), miniature.guard()

    def poisoned(step: int) -> Targets:
        targets = miniature.targets_of(step)
        return targets._replace(images=targets.images * float("nan")) if step == 3 else targets

    before = None
    for record in steps(state, miniature.config, poisoned, guard):
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

    with pytest.raises(NonFiniteLoss):
        list(steps(miniature.state(), miniature.config, poisoned, miniature.guard()))


def collapsed(miniature, bias: float):
    """A state whose EM begins with a segmenter that says the same of every pixel."""
    state, guard = miniature.state(), miniature.guard()
    for _ in steps(state, miniature.config, miniature.targets_of, guard):
        if state.step == miniature.config.schedule.em_start:
            break
    with torch.no_grad():
        state.focus.segmenter.last.bias.fill_(bias)
        state.focus.segmenter.last.weight.zero_()
    return state, guard


@pytest.mark.parametrize("bias", [-3.0, 3.0])
def test_collapsed_masks_stop_the_run_where_that_is_asked_for(miniature, bias):
    with_guard(miniature, window=2, action="stop")
    state, guard = collapsed(miniature, bias)
    with pytest.raises(MaskCollapse, match="all outlier" if bias < 0 else "all face"):
        list(steps(state, miniature.config, miniature.targets_of, guard))


def test_restore_brings_the_last_good_segmenter_back_and_lets_it_rest(miniature):
    with_guard(miniature, window=1, action="restore")
    state, guard = collapsed(miniature, -3.0)
    good = None
    records = []
    for record in steps(state, miniature.config, miniature.targets_of, guard):
        good = state.good_segmenter if good is None else good
        records.append(record)
        if record.position.cycle == 1:
            break
    assert records[0].event is not None
    assert torch.equal(state.focus.segmenter.last.bias, good["last.bias"])
    assert records[1].metrics.losses == {}  # the rest of the block is sat out


def test_recalibration_sets_the_area_weight_from_the_residuals(miniature):
    with_guard(miniature, window=1, action="recalibrate")
    miniature.config = miniature.config.model_copy(
        update={"em": miniature.config.em.model_copy(update={"calibration": None})}
    )
    state, guard = collapsed(miniature, 3.0)
    record = next(iter(steps(state, miniature.config, miniature.targets_of, guard)))
    assert record.event is not None
    assert dataclasses.asdict(record.event)["action"] == "recalibrate"
    assert state.area_weight is not None
    assert state.area_weight > 0
