"""State of training: the networks, their optimisers, the step, and the area weight that calibration may change."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.optimizers import UpdateRule
from focus_ray.focus.pooled_ratio import PooledRatio
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition


class Targets(NamedTuple):
    """Training data of the method: images and 68 detected landmarks, nothing else.

    Only supervised baselines (section 4.1) have masks, 1 = visible face. Pictures with pasted occluders have `planted`,
    1 where the occluder is.
    """

    images: Float[Tensor, "B 3 H W"]  # in [0, 1]
    landmarks: Float[Tensor, "B 68 2"]  # px
    first_index: int = 0  # number of the first image in the global batch, of which this is a part
    masks: Float[Tensor, "B 1 H W"] | None = None
    planted: Float[Tensor, "B 1 H W"] | None = None
    numbers: tuple[int, ...] | None = None  # images with the same number are the same; None: unknown

    def rows(self, rows: slice) -> "Targets":
        """Return a contiguous part of the batch."""
        first = self.first_index + (rows.start or 0)
        masks, planted = (None if one is None else one[rows] for one in (self.masks, self.planted))
        numbers = None if self.numbers is None else self.numbers[rows]
        return Targets(self.images[rows], self.landmarks[rows], first, masks, planted, numbers)

    def to(self, device: torch.device) -> "Targets":
        """Copy to another device."""
        masks, planted = (None if one is None else one.to(device) for one in (self.masks, self.planted))
        images, landmarks = self.images.to(device), self.landmarks.to(device)
        return Targets(images, landmarks, self.first_index, masks, planted, self.numbers)

    def without_planted(self, mask: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return a mask without the pixels of pasted occluders."""
        return mask if self.planted is None else mask * (1 - self.planted)


@dataclass
class TrainState:
    """The whole state of a run except its data position, which is a function of `step`."""

    focus: Focus
    step: int = 0
    optimizers: dict[Phase, UpdateRule] = field(default_factory=dict)
    area_weight: float | None = None  # eta_area once calibrated; None: the configured one
    last_good_segmenter: dict[str, Tensor] | None = None  # weights before S's last block with masks in range
    segmenter_frozen_cycle: int | None = None  # the EM cycle in which S does not learn, after a collapse
    process_group: ReplicaGroup = SINGLE_PROCESS  # replicas that train on the other parts of the same batches
    accumulation_steps: int = 1  # parts of a batch whose gradients are summed, one part in memory at a time
    kept_fits: dict[int, Tensor] = field(default_factory=dict)  # EmSettings.keep_fits; a function of the rest
    _ddp_modules: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def optimizer(self, phase: Phase, settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> UpdateRule:
        """Return the phase's optimiser, created at its first step.

        Creating one drops the optimisers of phases that never return.
        """
        if phase not in self.optimizers:
            for finished in [p for p in self.optimizers if p not in (Phase.EM_SEG, Phase.EM_FACE)]:
                del self.optimizers[finished]
            self.optimizers[phase] = settings.build(parameters)
        return self.optimizers[phase]

    def ddp_module(self, network: nn.Module) -> nn.Module:
        """Return the module for forward passes that train `network` (`ReplicaGroup.wrap_ddp`)."""
        if network not in self._ddp_modules:
            self._ddp_modules[network] = self.process_group.wrap_ddp(network)
        return self._ddp_modules[network]

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.focus.encoder.parameters()).device


MASK_MEANS = ("mask", "unexplained")  # the means of M in a StepLoss


class StepLoss(NamedTuple):
    """Objective of a step: its terms by symbol, the function that adds them, and the means of its mask."""

    terms: dict[str, PooledRatio]
    total: Callable[[Mapping[str, Tensor]], Tensor]
    mask: PooledRatio | None = None  # the mean of M over the rendered pixels
    unexplained: PooledRatio | None = None  # the mean of M over the worst explained rendered pixels


class StepMetrics(NamedTuple):
    """Results of one optimizer step: losses by symbol, mean mask in the rendered region, whether it was skipped."""

    losses: dict[str, float]
    mask_mean: float | None
    skipped: bool
    # Mean mask over the worst explained rendered pixels; 0 if there are none: then no pixel has to be left out.
    unexplained: float | None = None


@torch.no_grad()
def mask_share(mask: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]) -> PooledRatio:
    """Compute the mean of M over the rendered pixels of the batch.

    Args:
        mask: M, 0 outside the region.
        region: 1 in the rendered region.

    Returns:
        The mean as a ratio of sums.
    """
    return PooledRatio(mask.sum(), region.sum())


def optimize_step(
    state: TrainState,
    position: SchedulePosition,
    network: nn.Module,
    settings: OptimizerSettings,
    count: int,
    loss_fn: Callable[[nn.Module, slice], StepLoss],
) -> StepMetrics:
    """Take one optimiser step of a network, in `state.accumulation_steps` parts of the batch.

    Sums are pooled over all replicas, so that each has the loss of the global batch. Sums of two parts are not pooled:
    the step follows the mean of the parts' losses. If a loss or the gradient is not finite, nothing is changed on any
    replica, running statistics included.

    Args:
        state: gives the optimiser and the replicas.
        position: phase of the step and its progress.
        network: network to train.
        settings: optimiser settings of the phase.
        count: number of images on this replica.
        loss_fn: `loss_fn(network, rows)` computes the objective of some of the images; its forward pass must use the
            `network` that it gets.

    Returns:
        Losses and masks of the step, and whether it was skipped.
    """
    network.train().requires_grad_(True)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    optimizer = state.optimizer(position.phase, settings, network.parameters())
    optimizer.lr = settings.learning_rate(position)
    optimizer.zero_grad()
    number = state.accumulation_steps
    if number > 1:  # shares may differ by an image, but all replicas must have the same number of parts
        number = state.process_group.all_reduce_min(min(number, count), state.device)
    metrics, finite = _accumulate_gradients(state, network, batch_slices(count, number), loss_fn)
    if finite:
        limit = settings.clip_norm if settings.clip_norm is not None else float("inf")
        finite = bool(torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), limit)))
    if finite:
        optimizer.step()
        state.process_group.broadcast_buffers(network)
    else:
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
    optimizer.zero_grad()
    return metrics._replace(skipped=not finite)


def _accumulate_gradients(
    state: TrainState, network: nn.Module, rows: list[slice], loss_fn: Callable[[nn.Module, slice], StepLoss]
) -> tuple[StepMetrics, bool]:
    """The gradient of the global batch, left in the parameters; False where a loss is not finite."""
    replicas, learner = state.process_group, state.ddp_module(network)
    results = []
    for number, part in enumerate(rows, start=1):
        with replicas.accumulate_gradients(learner, sync=number == len(rows)):
            objective = loss_fn(learner, part)
            masks = {name: mean for name in MASK_MEANS if (mean := getattr(objective, name)) is not None}
            values = {name: pooled.ratio() for name, pooled in replicas.all_reduce(objective.terms | masks).items()}
            means = {name: values.pop(name) for name in masks}
            total = objective.total(values)
            results.append((values | {"total": total}, means))
            if not torch.isfinite(total):
                return _mean_metrics(results), False
            # DDP takes the mean over the replicas of gradients that are parts of a sum.
            (total * (replicas.world_size / len(rows))).backward()
    return _mean_metrics(results), True


def _mean_metrics(part_results: list[tuple[dict[str, Tensor], dict[str, Tensor]]]) -> StepMetrics:
    """The numbers of a step from those of its parts."""
    losses, masks = ({name: _mean_value(parts, name) for name in parts[0]} for parts in zip(*part_results, strict=True))
    return StepMetrics(losses, masks.get("mask"), skipped=False, unexplained=masks.get("unexplained"))


def _mean_value(parts: tuple[dict[str, Tensor], ...], name: str) -> float:
    return sum(float(values[name].detach()) for values in parts) / len(parts)


def batch_slices(count: int, n_parts: int) -> list[slice]:
    """Divide `count` images into `n_parts` contiguous slices, or one image each if there are fewer images."""
    n_parts = min(n_parts, count)
    return [slice(i * count // n_parts, (i + 1) * count // n_parts) for i in range(n_parts)]
