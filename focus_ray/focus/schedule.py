"""Which network trains when, and at which rate: warm-up, initialisation (section 3.3), EM alternation (section 3.2)."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import Field
from torch import nn

from focus_ray.errors import ConfigError
from focus_ray.focus.optimizers import RULES, UpdateRule
from focus_ray.settings import Settings


class Phase(StrEnum):
    """The five phases of a run, in the order in which they first occur."""

    WARMUP = "warmup"  # the encoder learns to predict the parameters of renders of the model: no annotation needed
    INIT = "init"  # the encoder learns to fit the images inside the preliminary mask (Eq. 10)
    PRETRAIN_SEG = "pretrain_seg"  # the segmenter learns to predict the preliminary masks
    EM_SEG = "em_seg"  # the segmenter learns, the autoencoder is frozen (Eq. 1-4)
    EM_FACE = "em_face"  # the encoder learns, the segmenter is frozen (Eq. 5-8)


class SchedulePosition(NamedTuple):
    """Position of a step in its phase."""

    phase: Phase
    cycle: int  # EM cycle, 0 before EM
    in_phase: int  # steps of this phase before this one, over all cycles
    phase_total: int  # steps of this phase over the whole run
    in_block: int  # steps since the phase was last entered
    in_stage: int  # steps since EM began, of both networks; before EM, since the phase began

    @property
    def progress(self) -> float:
        """Share of the phase, over all cycles, that is done: 0 at its first step."""
        return self.in_phase / max(self.phase_total, 1)


class Schedule(Settings):
    """Numbers of optimisation steps. EM begins with the segmenter, as in the released code."""

    warmup_steps: int = Field(default=0, ge=0)
    init_steps: int = Field(ge=0)
    pretrain_seg_steps: int = Field(ge=0)
    cycles: int = Field(ge=0)
    seg_steps: int = Field(ge=0)  # per EM cycle
    face_steps: int = Field(ge=0)  # per EM cycle

    @property
    def em_start(self) -> int:
        """First step of the EM alternation."""
        return self.warmup_steps + self.init_steps + self.pretrain_seg_steps

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.em_start + self.cycles * (self.seg_steps + self.face_steps)

    def at(self, step: int) -> SchedulePosition:
        """Return the position of a step.

        Args:
            step: global step, 0 <= step < total_steps.

        Returns:
            Its phase and its place in it.

        Raises:
            ValueError: the step is outside the schedule.
        """
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step {step} is outside the schedule of {self.total_steps} steps")
        for phase, length in (
            (Phase.WARMUP, self.warmup_steps),
            (Phase.INIT, self.init_steps),
            (Phase.PRETRAIN_SEG, self.pretrain_seg_steps),
        ):
            if step < length:
                return SchedulePosition(phase, 0, step, length, in_block=step, in_stage=step)
            step -= length
        in_em = step
        cycle, offset = divmod(step, self.seg_steps + self.face_steps)
        if offset < self.seg_steps:
            phase, per_cycle = Phase.EM_SEG, self.seg_steps
        else:
            phase, per_cycle, offset = Phase.EM_FACE, self.face_steps, offset - self.seg_steps
        return SchedulePosition(phase, cycle, cycle * per_cycle + offset, self.cycles * per_cycle, offset, in_em)

    def rescale(self, steps: int) -> "Schedule":
        """Return the same run in another number of steps, every phase in proportion (for `--steps`).

        EM keeps its number of cycles if that divides the steps of EM; otherwise it takes the next smaller number that
        does.

        Args:
            steps: steps of the new schedule in all.

        Returns:
            The new schedule.

        Raises:
            ConfigError: this schedule has no steps.
        """
        if self.total_steps == 0:
            raise ConfigError(
                f"a schedule without steps cannot be scaled to {steps} steps; set the steps of its phases"
            )
        lengths = [self.warmup_steps, self.init_steps, self.pretrain_seg_steps]
        ends = [round(sum(lengths[: count + 1]) * steps / self.total_steps) for count in range(3)]
        head = [ends[0], ends[1] - ends[0], ends[2] - ends[1]]
        em = steps - ends[2]
        if self.cycles == 0 or em < 2:  # too short to alternate: the initialisation gets these steps
            head[1] += em
            em = 0
        cycles = max((count for count in range(1, self.cycles + 1) if em % count == 0 and em // count > 1), default=0)
        cycle_steps = em // cycles if cycles else 2
        share = self.seg_steps / max(self.seg_steps + self.face_steps, 1)
        seg_steps = min(cycle_steps - 1, max(1, round(cycle_steps * share))) if self.seg_steps else 0
        return Schedule(
            warmup_steps=head[0],
            init_steps=head[1],
            pretrain_seg_steps=head[2],
            cycles=cycles,
            seg_steps=seg_steps,
            face_steps=cycle_steps - seg_steps,
        )


class OptimizerSettings(Settings):
    """Optimiser of one phase: the rule, its rate and the change of the rate over the phase."""

    rule: Literal["adam", "adadelta"] = "adam"
    lr: float = Field(gt=0)
    shape: Literal["constant", "one_cycle", "cosine", "steps"] = "constant"
    decay: float = 0.99  # factor of shape "steps"
    decay_every: int = 5000  # steps between two decays; in EM those of both networks count (released code)
    clip_norm: float | None = Field(default=1.0, gt=0)

    def build(self, parameters: Iterable[nn.Parameter]) -> UpdateRule:
        """Create the optimiser for these parameters."""
        return RULES[self.rule](parameters, self.lr)

    def learning_rate(self, position: SchedulePosition) -> float:
        """Return the learning rate at a position.

        This is a pure function, so resuming needs no scheduler state.
        """
        progress = position.progress
        if self.shape == "one_cycle":
            return self.lr * one_cycle(progress)
        if self.shape == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * progress))
        if self.shape == "steps":
            return self.lr * self.decay ** (position.in_stage // self.decay_every)
        return self.lr


def one_cycle(progress: float, warm_share: float = 0.3, start: float = 1 / 25, end: float = 1e-4) -> float:
    """Compute the factor of Smith's one-cycle policy: cosine up, then cosine down.

    Args:
        progress: share of the cycle that is done, in [0, 1].
        warm_share: share of the cycle in which the factor rises.
        start: factor at progress 0.
        end: factor at progress 1.

    Returns:
        Factor of the learning rate, at most 1.
    """
    if progress < warm_share:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * progress / warm_share))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (progress - warm_share) / (1 - warm_share)))
