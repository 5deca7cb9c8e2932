"""The training loop: takes steps by schedule, applies guard actions, yields one record per step.

It does not depend on files, cluster or tracker: the caller handles the records.
"""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from focus_ray.config import RunConfig
from focus_ray.errors import GuardStop
from focus_ray.focus.em import recalibrate, reconstruction_step, segmentation_step
from focus_ray.focus.guard import Guard, GuardEvent
from focus_ray.focus.initialise import freeze_perceptual, init_step, pretrain_step, warmup_step
from focus_ray.focus.schedule import Phase, SchedulePosition
from focus_ray.focus.state import StepMetrics, Targets, TrainState
from focus_ray.focus.synthesis import derive_seed
from focus_ray.runtime.step_record import StepRecord
from focus_ray.training.precision import autocast_context

TargetsFn = Callable[[int], Targets]  # this replica's part of a step's batch, a pure function of the step

DROPOUT_STREAM = 2  # separates dropout's random numbers from all other uses of the run's seed


def train_steps(state: TrainState, config: RunConfig, get_targets: TargetsFn, guard: Guard) -> Iterator[StepRecord]:
    """Train from `state.step` to the end of the schedule.

    Between two records the state is consistent: it may be saved, scored or discarded.

    Args:
        state: networks, optimizers and step; changed in place.
        config: the run's configuration.
        get_targets: returns this replica's part of the batch of a step; not called in the warm-up.
        guard: checks of masks and losses; changed in place.

    Yields:
        A record after each step, the same on all replicas.

    Raises:
        MaskCollapse: the masks collapsed, and the guard ends the run.
        NonFiniteLoss: too many steps in a row without a finite loss.
    """
    while state.step < config.schedule.total_steps:
        started = time.perf_counter()
        position = config.schedule.at(state.step)
        if position.phase is not Phase.WARMUP and state.focus.perceptual is None:
            freeze_perceptual(state)
        begins = position.phase is Phase.EM_SEG and position.in_block == 0 and config.guard.action != "stop"
        before = copy.deepcopy(state.focus.segmenter.state_dict()) if begins else None
        batch = get_targets(state.step).to(state.device) if position.phase is not Phase.WARMUP else None
        loaded = time.perf_counter()
        # Random numbers of a step depend on seed, step and replica only: checkpoints need no generator state.
        torch.manual_seed(derive_seed(config.seed, DROPOUT_STREAM, state.step, state.process_group.rank))
        with autocast_context(config.compute.precision, state.device):
            state, metrics = take_step(state, config, position, batch)
        if before is not None and (state.last_good_segmenter is None or is_good(metrics, guard)):
            state.last_good_segmenter = before
        step, state.step = state.step, state.step + 1
        event, stop = check_guard(guard, step, position, metrics)
        if event is not None and batch is not None:
            apply_guard_action(state, config, event, batch, position)
        seconds = time.perf_counter() - started
        size = config.warmup.batch_size if batch is None else config.batch_size
        rate = size / seconds
        yield StepRecord(step, position, metrics, event, seconds, loaded - started, rate, time.time())
        if stop is not None:  # after the record of the step that caused it
            raise stop


def check_guard(
    guard: Guard, step: int, position: SchedulePosition, metrics: StepMetrics
) -> tuple[GuardEvent | None, GuardStop | None]:
    """Pass a step's loss and masks to the guard.

    Args:
        guard: changed in place.
        step: global step.
        position: phase and cycle of the step.
        metrics: metrics of the step.

    Returns:
        The guard's intervention, or None; the error that ends the run, or None.
    """
    try:
        guard.observe_loss(step, not metrics.skipped)
        if position.phase is Phase.EM_SEG and metrics.mask_mean is not None and not metrics.skipped:
            return guard.observe_mask(step, metrics.mask_mean, metrics.unexplained), None
    except GuardStop as stop:
        return None, stop
    return None, None


def is_good(metrics: StepMetrics, guard: Guard) -> bool:
    """Return whether the segmenter before a step may be restored later: its masks in that step were in range.

    Args:
        metrics: metrics of the step.
        guard: its limits of the mean mask.
    """
    if metrics.mask_mean is None or metrics.skipped:
        return False
    return guard.in_bounds(metrics.mask_mean, metrics.unexplained)


def take_step(
    state: TrainState, config: RunConfig, position: SchedulePosition, batch: Targets | None
) -> tuple[TrainState, StepMetrics]:
    """Take one step of the current phase.

    Args:
        state: networks and optimizers; changed in place.
        config: the run's configuration.
        position: phase and cycle of the step.
        batch: this replica's part of the batch; None in the warm-up.

    Returns:
        The state, and the metrics of the step.
    """
    optimizer = getattr(config.optimizers, position.phase)
    if batch is None:
        return warmup_step(state, config.seed, position, config.warmup, optimizer)
    match position.phase:
        case Phase.INIT:
            return init_step(state, batch, position, config.initialise, optimizer)
        case Phase.PRETRAIN_SEG:
            return pretrain_step(state, batch, position, config.initialise, optimizer)
        case Phase.EM_SEG if state.segmenter_frozen_cycle == position.cycle:
            return state, StepMetrics({}, None, skipped=False)
        case Phase.EM_SEG:
            return segmentation_step(state, batch, position, config.em, optimizer)
        case _:
            return reconstruction_step(state, batch, position, config.em, optimizer)


def apply_guard_action(
    state: TrainState, config: RunConfig, event: GuardEvent, batch: Targets, position: SchedulePosition
) -> None:
    """Restore the last good segmenter in place of the collapsed one, and reset its Adam moments.

    Then `recalibrate` sets the area weight by the rule of AreaCalibration from this batch, and `restore` freezes the
    segmenter until the next cycle. Without `em.calibration` eta_area is fixed, and `recalibrate` acts as `restore`.

    Args:
        state: changed in place.
        config: the run's configuration.
        event: the guard's intervention.
        batch: this replica's part of the step's batch.
        position: phase and cycle of the step.
    """
    if state.last_good_segmenter is not None:
        state.focus.segmenter.load_state_dict(state.last_good_segmenter)
    state.optimizers.pop(Phase.EM_SEG, None)
    if event.action == "recalibrate" and config.em.calibration is not None:
        recalibrate(state, batch, config.em)
    else:
        state.segmenter_frozen_cycle = position.cycle


def state_tree(state: TrainState, guard: Guard) -> dict[str, Any]:
    """Return the state that a resumed run needs for the same result as an uninterrupted one.

    Args:
        state: networks, optimizers and step.
        guard: checks of masks and losses.

    Returns:
        Nested dicts of tensors and plain values; the tensors are not copied.
    """
    focus = state.focus
    return {
        "step": state.step,
        "encoder": focus.encoder.state_dict(),
        "segmenter": focus.segmenter.state_dict(),
        "perceptual": None if focus.perceptual is None else focus.perceptual.state_dict(),
        "optimizers": {str(phase): optimizer.state_dict() for phase, optimizer in state.optimizers.items()},
        "area_weight": state.area_weight,
        "good_segmenter": state.last_good_segmenter,
        "resting_cycle": state.segmenter_frozen_cycle,
        "guard": guard.state_dict(),
    }


def load_state_tree(state: TrainState, guard: Guard, config: RunConfig, tree: dict[str, Any]) -> None:
    """Load the result of `state_tree`.

    Args:
        state: newly built state; changed in place.
        guard: newly built guard; changed in place.
        config: the run's configuration.
        tree: result of `state_tree`.
    """
    focus = state.focus
    focus.encoder.load_state_dict(tree["encoder"])
    focus.segmenter.load_state_dict(tree["segmenter"])
    if tree["perceptual"] is not None:
        if focus.perceptual is None:
            freeze_perceptual(state)
        assert focus.perceptual is not None  # made by freeze_perceptual
        focus.perceptual.load_state_dict(tree["perceptual"])
    state.step = tree["step"]
    for name, optimizer_state in tree["optimizers"].items():
        phase = Phase(name)
        network = focus.segmenter if phase in (Phase.PRETRAIN_SEG, Phase.EM_SEG) else focus.encoder
        settings = getattr(config.optimizers, phase)
        state.optimizers[phase] = settings.build(network.parameters())
        state.optimizers[phase].load_state_dict(optimizer_state)
    state.area_weight = tree["area_weight"]
    state.last_good_segmenter = tree["good_segmenter"]
    state.segmenter_frozen_cycle = tree["resting_cycle"]
    guard.load_state_dict(tree["guard"])
