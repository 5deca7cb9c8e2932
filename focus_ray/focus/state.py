"""What training changes: the networks, their optimisers, the step, and the area weight that calibration may move."""

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
    """What the method learns from: pictures and 68 detected landmarks, nothing else.

    Only baselines that are supervised (section 4.1) are given masks, 1 = visible face.
    """

    images: Float[Tensor, "B 3 H W"]  # in [0, 1]
    landmarks: Float[Tensor, "B 68 2"]  # px
    first_index: int = 0  # number of the first one in the global batch, of which this is a part
    masks: Float[Tensor, "B 1 H W"] | None = None

    def rows(self, rows: slice) -> "Targets":
        """Some of them, side by side."""
        masks = None if self.masks is None else self.masks[rows]
        return Targets(self.images[rows], self.landmarks[rows], self.first_index + (rows.start or 0), masks)

    def to(self, device: torch.device) -> "Targets":
        """The same on another device."""
        masks = None if self.masks is None else self.masks.to(device)
        return Targets(self.images.to(device), self.landmarks.to(device), self.first_index, masks)


@dataclass
class TrainState:
    """The whole state of a run besides its data position, which is a function of `step`."""

    focus: Focus
    step: int = 0
    optimizers: dict[Phase, UpdateRule] = field(default_factory=dict)
    area_weight: float | None = None  # eta_area once calibrated; None: the configured one
    last_good_segmenter: dict[str, Tensor] | None = None  # what the last block of S with masks in range began with
    segmenter_frozen_cycle: int | None = None  # the EM cycle in which S does not learn, after a collapse
    process_group: ReplicaGroup = SINGLE_PROCESS  # who else trains on parts of the same batches
    accumulation_steps: int = 1  # parts of a batch whose gradients are added up, one in memory at a time
    _ddp_modules: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def optimizer(self, phase: Phase, settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> UpdateRule:
        """The phase's optimiser, made at its first step; those of phases that never return are dropped then."""
        if phase not in self.optimizers:
            for finished in [p for p in self.optimizers if p not in (Phase.EM_SEG, Phase.EM_FACE)]:
                del self.optimizers[finished]
            self.optimizers[phase] = settings.build(parameters)
        return self.optimizers[phase]

    def ddp_module(self, network: nn.Module) -> nn.Module:
        """What the forward passes that train `network` go through (`ReplicaGroup.learner`)."""
        if network not in self._ddp_modules:
            self._ddp_modules[network] = self.process_group.wrap_ddp(network)
        return self._ddp_modules[network]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.focus.encoder.parameters()).device


MASK_MEANS = ("mask", "unexplained")  # the means of M that an objective tells


class StepLoss(NamedTuple):
    """What a step goes down: its terms by symbol, how they add up, and the mask they were taken under."""

    terms: dict[str, PooledRatio]
    total: Callable[[Mapping[str, Tensor]], Tensor]
    mask: PooledRatio | None = None  # the mean of M over the rendered pixels
    unexplained: PooledRatio | None = None  # the mean of M over those of them that the fit explains worst


class StepMetrics(NamedTuple):
    """Results of one optimizer step: losses by symbol, mean mask in the rendered region, whether it was skipped."""

    losses: dict[str, float]
    mask_mean: float | None
    skipped: bool
    # Mean mask over the rendered pixels that the fit explains worst; 0 where there are none: nothing is to be left out.
    unexplained: float | None = None


@torch.no_grad()
def mask_share(mask: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]) -> PooledRatio:
    """The mean of M over the rendered pixels of the batch."""
    return PooledRatio(mask.sum(), region.sum())


def optimize_step(
    state: TrainState,
    position: SchedulePosition,
    network: nn.Module,
    settings: OptimizerSettings,
    count: int,
    loss_fn: Callable[[nn.Module, slice], StepLoss],
) -> StepMetrics:
    """One optimiser step of `network` down an objective over `count` images, in `state.accumulate` parts.

    `loss_fn(network, rows)` looks at some of the images; its forward pass of the network goes through `network`.
    Sums are pooled over all replicas, so that each knows the loss of the global batch; those of two parts are not
    pooled: the step follows the mean of the parts' losses. Where a loss or the gradient is not finite nothing is
    changed, running statistics included, on any replica.
    """
    network.train().requires_grad_(True)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    optimizer = state.optimizer(position.phase, settings, network.parameters())
    optimizer.lr = settings.learning_rate(position)
    optimizer.zero_grad()
    number = state.accumulation_steps
    if number > 1:  # shares differ by an image: none may wait for a part that another replica does not have
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
    told = []
    for number, part in enumerate(rows, start=1):
        with replicas.accumulate_gradients(learner, sync=number == len(rows)):
            objective = loss_fn(learner, part)
            masks = {name: mean for name in MASK_MEANS if (mean := getattr(objective, name)) is not None}
            values = {name: pooled.ratio() for name, pooled in replicas.all_reduce(objective.terms | masks).items()}
            means = {name: values.pop(name) for name in masks}
            total = objective.total(values)
            told.append((values | {"total": total}, means))
            if not torch.isfinite(total):
                return _mean_metrics(told), False
            # DDP takes the mean over the replicas of gradients that are parts of a sum.
            (total * (replicas.world_size / len(rows))).backward()
    return _mean_metrics(told), True


def _mean_metrics(part_results: list[tuple[dict[str, Tensor], dict[str, Tensor]]]) -> StepMetrics:
    """The numbers of a step from those of its parts."""
    losses, masks = ({name: _mean_value(parts, name) for name in parts[0]} for parts in zip(*part_results, strict=True))
    return StepMetrics(losses, masks.get("mask"), skipped=False, unexplained=masks.get("unexplained"))


def _mean_value(parts: tuple[dict[str, Tensor], ...], name: str) -> float:
    return sum(float(values[name].detach()) for values in parts) / len(parts)


def batch_slices(count: int, n_parts: int) -> list[slice]:
    """`count` images in `n_parts` slices side by side, or one each where there are fewer images."""
    n_parts = min(n_parts, count)
    return [slice(i * count // n_parts, (i + 1) * count // n_parts) for i in range(n_parts)]
