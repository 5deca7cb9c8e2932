"""The unsupervised initialisation (section 3.3): warm-up on renders, a robust autoencoder, a segmenter taught by it."""

import torch
from pydantic import Field
from torch import nn

from focus_ray.focus import losses
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.networks.perceptual import EncoderPerceptual
from focus_ray.focus.reconstruction_terms import reconstruction_terms
from focus_ray.focus.schedule import Optimizer, Position
from focus_ray.focus.settings import Settings
from focus_ray.focus.state import StepMetrics, Targets, TrainState, descend, mask_mean, report, running_statistics
from focus_ray.focus.synthesis import ParameterWeights, SamplingLaws, generator, parameter_loss, render_random

WARMUP_STREAM = 1  # keeps the warm-up's random numbers apart from every other use of the run's seed


class WarmupSettings(Settings):
    """The encoder's supervised start on renders of the model itself. Not in the paper: it makes short training work."""

    laws: SamplingLaws = SamplingLaws()
    weights: ParameterWeights = ParameterWeights()
    batch_size: int = Field(default=32, gt=0)


class InitialiseSettings(Settings):
    """The preliminary masks and what is fitted with them."""

    xi: float = Field(default=losses.PAPER_XI, gt=0)  # Eq. 10, at the end of the phase
    xi_start: float | None = Field(default=None, gt=0)  # at its start, falling geometrically; None: xi throughout
    likelihood: bool = False  # released code: a truncated Gaussian log-likelihood in place of Eq. 5
    weights: ReconstructionWeights = ReconstructionWeights()

    def xi_at(self, progress: float) -> float:
        """Threshold at `progress` in [0, 1] of the phase."""
        start = self.xi if self.xi_start is None else self.xi_start
        return start * (self.xi / start) ** progress


def warmup_step(
    state: TrainState,
    seed: int,
    position: Position,
    settings: WarmupSettings,
    optimizer: Optimizer,
) -> tuple[TrainState, StepMetrics]:
    """The encoder learns theta of random renders; the batch is a function of `seed` and the step."""
    encoder, renderer = state.focus.encoder.train(), state.focus.renderer
    rng = generator(seed, WARMUP_STREAM, position.in_phase)
    images, theta = render_random(renderer, settings.laws, settings.batch_size, rng)
    before = running_statistics(encoder)
    terms = parameter_loss(renderer, state.focus.scales, encoder(images), theta, settings.weights)
    total = torch.stack(list(terms.values())).sum()
    taken = descend(state, position, encoder, optimizer, total, before)
    return state, report(terms, total, taken, None)


def freeze_perceptual(state: TrainState) -> None:
    """Make the warm-up encoder the perceptual network F: a frozen copy of what it knows of faces now."""
    state.focus.perceptual = EncoderPerceptual(state.focus.encoder)


def init_step(
    state: TrainState, batch: Targets, position: Position, settings: InitialiseSettings, optimizer: Optimizer
) -> tuple[TrainState, StepMetrics]:
    """The autoencoder learns the pictures, with M_pre of the current rendering (Eq. 10) as mask in Eq. 8."""
    encoder = state.focus.encoder.train()
    before = running_statistics(encoder)
    theta, rendering = state.focus.autoencoder(batch.images)
    xi = settings.xi_at(position.progress)
    mask = losses.preliminary_mask(batch.images, rendering.image, rendering.mask, xi)
    terms = reconstruction_terms(state.focus, batch, theta, rendering, mask, settings.weights)
    if settings.likelihood:
        terms["pixel"] = losses.truncated_likelihood(batch.images, rendering.image, rendering.mask, xi=xi)
    total = losses.reconstruction_total(terms, settings.weights)
    taken = descend(state, position, encoder, optimizer, total, before)
    return state, report(terms, total, taken, mask_mean(mask, rendering.mask))


def pretrain_step(
    state: TrainState, batch: Targets, position: Position, settings: InitialiseSettings, optimizer: Optimizer
) -> tuple[TrainState, StepMetrics]:
    """The segmenter learns the preliminary masks as if they were the truth, inside the rendered region."""
    segmenter = state.focus.segmenter.train().requires_grad_(True)
    before = running_statistics(segmenter)
    rendering = frozen_rendering(state, batch)
    label = losses.preliminary_mask(batch.images, rendering.image, rendering.mask, settings.xi)
    logits = segmenter.logits(rendering.image, batch.images)
    terms = {"bce": losses.mask_cross_entropy(logits, label, rendering.mask)}
    taken = descend(state, position, segmenter, optimizer, terms["bce"], before)
    mask = rendering.mask * segmenter.mask_of(logits)
    return state, report(terms, terms["bce"], taken, mask_mean(mask, rendering.mask))


@torch.no_grad()
def frozen_rendering(state: TrainState, batch: Targets):
    """The rendering of the autoencoder while the segmenter learns."""
    autoencoder: nn.Module = state.focus.autoencoder.eval()
    return autoencoder(batch.images).rendering
