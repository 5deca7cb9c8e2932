"""The unsupervised initialisation (section 3.3): warm-up on renders, robust autoencoder, first training of S."""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from focus_ray.focus import losses
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.networks.perceptual import EncoderPerceptual
from focus_ray.focus.pooled_ratio import pooled_mean
from focus_ray.focus.reconstruction_terms import encode_and_render, reconstruction_terms
from focus_ray.focus.schedule import OptimizerSettings, SchedulePosition
from focus_ray.focus.state import StepLoss, StepMetrics, Targets, TrainState, mask_share, optimize_step
from focus_ray.focus.synthesis import (
    ParameterWeights,
    SamplingDistributions,
    make_generator,
    parameter_loss,
    render_random,
)
from focus_ray.settings import Settings

WARMUP_STREAM = 1  # separates the warm-up's random numbers from other uses of the run's seed


class WarmupSettings(Settings):
    """Settings of the encoder's supervised warm-up on renders. Not in the paper: it makes short training work."""

    laws: SamplingDistributions = SamplingDistributions()
    weights: ParameterWeights = ParameterWeights()
    batch_size: int = Field(default=32, gt=0)


class InitialiseSettings(Settings):
    """Settings of the preliminary masks and of the losses that use them."""

    xi: float = Field(default=losses.PAPER_XI, gt=0)  # Eq. 10, at the end of the phase
    xi_start: float | None = Field(default=None, gt=0)  # at its start, falling geometrically; None: xi throughout
    # Pixels that L_R leaves out: outliers of M_pre; none, as for R_syn (section 3.4); or those outside the true masks.
    mask: Literal["preliminary", "none", "true"] = "preliminary"
    likelihood: bool = False  # released code: a truncated Gaussian log-likelihood in place of Eq. 5
    weights: ReconstructionWeights = ReconstructionWeights()

    def xi_at(self, progress: float) -> float:
        """Return the threshold of Eq. 10.

        Args:
            progress: share of the phase that is done, in [0, 1].
        """
        start = self.xi if self.xi_start is None else self.xi_start
        return start * (self.xi / start) ** progress


def warmup_step(
    state: TrainState,
    seed: int,
    position: SchedulePosition,
    settings: WarmupSettings,
    optimizer: OptimizerSettings,
) -> tuple[TrainState, StepMetrics]:
    """Train the encoder for one step on theta of random renders.

    Args:
        state: changed in place.
        seed: the batch is a function of the seed and the step.
        position: step of the warm-up.
        settings: distributions, weights and batch size.
        optimizer: optimiser settings of the warm-up.

    Returns:
        The state, and the metrics of the step.
    """
    renderer, scales = state.focus.renderer, state.focus.scales
    mine = state.process_group.shard(settings.batch_size)
    rng = make_generator(seed, WARMUP_STREAM, position.in_phase)
    images, theta = render_random(renderer, settings.laws, settings.batch_size, rng, subset=mine)

    def objective(network: nn.Module, rows: slice) -> StepLoss:
        predicted = network(images[rows])
        terms = parameter_loss(renderer, scales, predicted, theta[rows], settings.weights)
        return StepLoss({name: pooled_mean(term, len(predicted)) for name, term in terms.items()}, sum_terms)

    return state, optimize_step(state, position, state.focus.encoder, optimizer, len(images), objective)


def sum_terms(terms: Mapping[str, Tensor]) -> Tensor:
    """Add terms that are already weighted.

    Args:
        terms: scalars by name, at least one.

    Returns:
        Their sum.
    """
    return torch.stack(list(terms.values())).sum()


def freeze_perceptual(state: TrainState) -> None:
    """Make a frozen copy of the current encoder the perceptual network F."""
    state.focus.perceptual = EncoderPerceptual(state.focus.encoder)


def init_step(
    state: TrainState,
    batch: Targets,
    position: SchedulePosition,
    settings: InitialiseSettings,
    optimizer: OptimizerSettings,
) -> tuple[TrainState, StepMetrics]:
    """Train the encoder for one step on images, with M_pre of the current rendering (Eq. 10) as mask in Eq. 8.

    Baselines use no mask, or the true masks of the batch.

    Returns:
        The state, changed in place, and the metrics of the step.

    Raises:
        ValueError: `settings.mask` is "true" and the batch has no masks.
    """
    focus = state.focus
    xi = settings.xi_at(position.progress)

    def objective(network: nn.Module, rows: slice) -> StepLoss:
        part = batch.rows(rows)
        theta, rendering = encode_and_render(network, focus, part)
        mask = rendering.mask
        if settings.mask == "preliminary":
            mask = part.without_planted(losses.preliminary_mask(part.images, rendering.image, mask, xi))
        elif settings.mask == "true":
            if part.masks is None:
                raise ValueError("the batch has no true masks; use data with true masks, or another initialise.mask")
            mask = mask * part.masks
        terms = reconstruction_terms(focus, part, theta, rendering, mask, settings.weights)
        if settings.likelihood:
            likelihood = losses.truncated_nll(part.images, rendering.image, rendering.mask, xi=xi)
            terms["pixel"] = pooled_mean(likelihood, len(part.images))
        total = partial(losses.reconstruction_total, weights=settings.weights)
        return StepLoss(terms, total, mask_share(mask, rendering.mask))

    return state, optimize_step(state, position, focus.encoder, optimizer, len(batch.images), objective)


def pretrain_step(
    state: TrainState,
    batch: Targets,
    position: SchedulePosition,
    settings: InitialiseSettings,
    optimizer: OptimizerSettings,
) -> tuple[TrainState, StepMetrics]:
    """Train the segmenter for one step with the preliminary masks as labels, inside the rendered region.

    Pixels of pasted occluders are outliers.

    Returns:
        The state, changed in place, and the metrics of the step.
    """
    segmenter = state.focus.segmenter
    autoencoder: nn.Module = state.focus.autoencoder.eval()

    def objective(network: nn.Module, rows: slice) -> StepLoss:
        part = batch.rows(rows)
        with torch.no_grad():
            rendering = autoencoder(part.images).rendering
        label = losses.preliminary_mask(part.images, rendering.image, rendering.mask, settings.xi)
        label = part.without_planted(label)
        logits = network(rendering.image, part.images)
        terms = {"bce": losses.mask_cross_entropy_sum(logits, label, rendering.mask)}
        mask = rendering.mask * segmenter.logits_to_mask(logits)
        return StepLoss(terms, sum_terms, mask_share(mask, rendering.mask))

    return state, optimize_step(state, position, segmenter, optimizer, len(batch.images), objective)
