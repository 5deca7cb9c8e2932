"""What training changes: the networks, their optimisers, the step, and the area weight that calibration may move."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.schedule import Optimizer, Phase, Position


class Targets(NamedTuple):
    """What the method learns from: pictures and 68 detected landmarks, nothing else."""

    images: Float[Tensor, "B 3 H W"]  # in [0, 1]
    landmarks: Float[Tensor, "B 68 2"]  # px


@dataclass
class TrainState:
    """The whole state of a run besides its data position, which is a function of `step`."""

    focus: Focus
    step: int = 0
    optimizers: dict[Phase, torch.optim.Optimizer] = field(default_factory=dict)
    area_weight: float | None = None  # eta_area once calibrated; None: the configured one
    good_segmenter: dict[str, Tensor] | None = None  # what the last block of S with masks in range began with
    resting_cycle: int | None = None  # the EM cycle in which S does not learn, after a collapse

    def optimizer(self, phase: Phase, settings: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The phase's optimiser, made at its first step; those of phases that never return are dropped then."""
        if phase not in self.optimizers:
            for finished in [p for p in self.optimizers if p not in (Phase.EM_SEG, Phase.EM_FACE)]:
                del self.optimizers[finished]
            self.optimizers[phase] = settings.build(parameters)
        return self.optimizers[phase]


class StepMetrics(NamedTuple):
    """What one step tells: its loss terms by symbol, the mean mask inside the rendered region, whether it was taken."""

    losses: dict[str, float]
    mask_mean: float | None
    skipped: bool


@torch.no_grad()
def mask_mean(mask: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]) -> float:
    """Mean of M over the rendered pixels of the batch."""
    return float(mask.sum() / region.sum().clamp_min(1.0))


def descend(
    state: TrainState,
    position: Position,
    network: nn.Module,
    settings: Optimizer,
    total: Tensor,
    buffers: dict[str, Tensor],
) -> bool:
    """One optimiser step of `network` down `total`; False, with nothing changed, where loss or gradient is not finite.

    `buffers`: the network's running statistics from before the forward pass, put back if the step is skipped.
    """
    optimizer = state.optimizer(position.phase, settings, network.parameters())
    for group in optimizer.param_groups:
        group["lr"] = settings.rate(position)
    optimizer.zero_grad(set_to_none=True)
    finite = bool(torch.isfinite(total))
    if finite:
        total.backward()
        limit = settings.clip_norm if settings.clip_norm is not None else float("inf")
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    else:
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
    optimizer.zero_grad(set_to_none=True)
    return finite


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Copies of a network's buffers, for `descend`."""
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def report(terms: dict[str, Tensor], total: Tensor, taken: bool, mean: float | None) -> StepMetrics:
    """Numbers for the history of one step."""
    losses = {symbol: float(term.detach()) for symbol, term in terms.items()}
    return StepMetrics(losses | {"total": float(total.detach())}, mean, skipped=not taken)
