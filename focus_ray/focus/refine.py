"""Refinement: a few dozen gradient steps on theta from the encoder's prediction, with the same losses, for each image.

The paper predicts theta in one pass (Fig. 2b). With a small encoder most of the error is the encoder's own, and
descending the reconstruction loss of each image removes it; the mask is estimated again during the descent, as in the
EM loop. The first steps do not use S, which would label the encoder's fitting errors as outliers; they use a mask of
the pixels with the smallest residual.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import Field, model_serializer
from torch import Tensor

from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.metrics import REFERENCE_SIZE
from focus_ray.focus.optimizers import Adam
from focus_ray.focus.parameters import ParameterScales, split_theta
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.settings import Settings

Decay = Annotated[float, Field(ge=0, lt=1)]
LrDecay = Literal["cosine", "linear"]
MaskFn = Callable[[Tensor, Rendering], Tensor]  # (images, rendering) -> M [B, 1, H, W]
LossFn = Callable[[int, Tensor, Rendering], Tensor]  # (step, theta, its rendering) -> loss of each image [B]


@runtime_checkable
class AdamSchedule(Protocol):
    """Steps and rates of a descent by Adam."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...

    @property
    def lr(self) -> float:
        """Rate of the first step, in units of the head's scales."""
        ...

    @property
    def lr_decay(self) -> LrDecay:
        """How the rate falls to zero over the steps."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """Decay per step of the mean and of the mean square of the gradient."""
        ...


class RefineSettings(Settings):
    """Weights and steps of the refinement. Terms are per image: a result does not depend on the rest of the batch.

    A config.json without `lr_decay` and `betas` is from before `FAST_REFINE`: their defaults are what it meant.
    """

    steps: int = Field(default=50, ge=0)
    lr: float = Field(default=0.12, gt=0)  # of Adam in the first step, in units of the head's scales
    lr_decay: LrDecay = "cosine"  # how the rate falls to zero over the steps
    betas: tuple[Decay, Decay] = Adam.BETAS  # of Adam: decay per step of the mean and of the mean square
    pixel: float = 3.0  # of the mean colour distance inside the mask
    landmark: float = 5e-3  # of the mean squared distance, px^2 at 224
    regularizer: float = 0.1 / 224  # of the sum of squared sigmas
    mask_every: int = Field(default=4, gt=0)  # steps between two estimates of the mask
    trusting_share: float = Field(default=0.2, ge=0, le=1)  # of the steps, with `trusted_mask` in place of S
    trusting_factor: float = Field(default=2.0, gt=0)  # residual of a trusted pixel, in medians of its image

    @model_serializer(mode="wrap")
    def _leave_out_later_keys(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out `lr_decay` and `betas` at their defaults: a run from before them keeps its digest."""
        tree = serialize(self)
        defaults = {"lr_decay": "cosine", "betas": Adam.BETAS}
        return {key: value for key, value in tree.items() if key not in defaults or getattr(self, key) != defaults[key]}


DEFAULT_REFINE = RefineSettings()
FAST_REFINE = RefineSettings(steps=24, lr=0.2, lr_decay="linear", betas=(0.6, 0.9))
"""In half of the renders the loss of the 50 steps of `RefineSettings()` plus 0.5 to 3 %, with vertex errors and
landmarks within 4 % and outlier IoU within 0.015 (benchmarks/refinement.py).

Adam's usual betas average over 10 and 1000 steps, more than a short descent has: the mean square is still that of the
large first gradients when the last ones are small, and the mean still points where the descent came from.
"""


class RefineResult(NamedTuple):
    """Result of the descent."""

    theta: Tensor  # [B, 257]
    rendering: Rendering
    mask: Tensor  # [B, 1, H, W], soft, inside the rendered region


def refine_with_segmenter(
    focus: Focus,
    images: Float[Tensor, "B 3 H W"],
    theta: Float[Tensor, "B 257"],
    landmarks: Float[Tensor, "B 68 2"] | None = None,
    settings: RefineSettings = DEFAULT_REFINE,
) -> RefineResult:
    """Refine with the model's own masks: the trusted pixels in the first steps, then the masks of S.

    Args:
        focus: renderer, segmenter and scales.
        images: RGB in [0, 1].
        theta: prediction of the encoder, where the descent begins.
        landmarks: px of the images; None: no landmark term.
        settings: weights and steps.

    Returns:
        Refined theta, its rendering and the mask of S.
    """
    trusted = partial(trusted_mask, factor=settings.trusting_factor)
    return refine(focus.renderer, focus.scales, images, theta, focus.mask, landmarks, settings, trusted)


def trusted_mask(
    images: Float[Tensor, "B 3 H W"],
    rendering: Rendering,
    factor: float,
    hidden: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, "B 1 H W"]:
    """Mark the pixels whose neighbour residual (Eq. 1) is small against the median of their image.

    Args:
        images: RGB in [0, 1].
        rendering: of the same images.
        factor: bound of the residual, in medians over the image's rendered region.
        hidden: 1 where the face is known to be hidden; these pixels do not count in the median. None: nowhere.

    Returns:
        1 at rendered pixels with a residual of at most the bound, else 0.
    """
    residual = neighbor_residual(images, rendering.image)
    inside = rendering.mask > 0
    counted = inside if hidden is None else inside & (hidden == 0)
    median = residual.masked_fill(~counted, torch.nan).flatten(1).nanmedian(dim=1).values
    return (inside & (residual <= factor * median[:, None, None, None])).to(images)


def refine(
    renderer: Renderer,
    scales: ParameterScales,
    images: Float[Tensor, "B 3 H W"],
    theta: Float[Tensor, "B 257"],
    mask_fn: MaskFn,
    landmarks: Float[Tensor, "B 68 2"] | None = None,
    settings: RefineSettings = DEFAULT_REFINE,
    initial_mask_fn: MaskFn | None = None,
) -> RefineResult:
    """Descend the masked pixel, landmark and regularisation losses of each image.

    Args:
        renderer: renderer of theta.
        scales: the descent runs in the units of the head, (theta - offset) / scale.
        images: RGB in [0, 1].
        theta: prediction of the encoder, where the descent begins.
        mask_fn: gives M for the current rendering.
        landmarks: px of the images; None: no landmark term.
        settings: weights and steps.
        initial_mask_fn: replaces `mask_fn` in the first `settings.trusting_share` of the steps; None: `mask_fn` in all.

    Returns:
        Refined theta, its rendering and M from `mask_fn`.
    """
    final, rendering = descend(renderer, scales, images, theta, mask_fn, landmarks, settings, initial_mask_fn)
    return RefineResult(final, rendering, estimate_mask(mask_fn, images, rendering))


def descend(
    renderer: Renderer,
    scales: ParameterScales,
    images: Float[Tensor, "B 3 H W"],
    theta: Float[Tensor, "B 257"],
    mask_fn: MaskFn,
    landmarks: Float[Tensor, "B 68 2"] | None,
    settings: RefineSettings,
    initial_mask_fn: MaskFn | None,
) -> tuple[Float[Tensor, "B 257"], Rendering]:
    """Compute what `refine` does, without the last mask.

    Args:
        renderer: see `refine`.
        scales: see `refine`.
        images: see `refine`.
        theta: see `refine`.
        mask_fn: see `refine`.
        landmarks: see `refine`.
        settings: see `refine`.
        initial_mask_fn: see `refine`.

    Returns:
        Refined theta, and its rendering.
    """
    first_steps = round(settings.trusting_share * settings.steps) if initial_mask_fn is not None else 0
    masks: list[Tensor] = []

    def loss_fn(step: int, current: Tensor, rendering: Rendering) -> Tensor:
        if not masks or step % settings.mask_every == 0 or step == first_steps:
            current_mask_fn = initial_mask_fn if initial_mask_fn is not None and step < first_steps else mask_fn
            masks[:] = [estimate_mask(current_mask_fn, images, rendering)]
        return fitting_loss(images, rendering, masks[0], current, landmarks, settings)

    final = minimize(renderer, scales, theta, loss_fn, settings)
    with torch.no_grad():
        return final, renderer(final)


def minimize(
    renderer: Renderer, scales: ParameterScales, theta: Float[Tensor, "B 257"], loss_fn: LossFn, schedule: AdamSchedule
) -> Float[Tensor, "B 257"]:
    """Minimize a loss of the parameters and their rendering by Adam. An image whose gradient is not finite stays.

    Args:
        renderer: renderer of theta.
        scales: the steps are in the units of the head, (theta - offset) / scale.
        theta: where the descent begins.
        loss_fn: the loss of each image.
        schedule: steps and rates.

    Returns:
        The last theta.
    """
    offset, scale = (vector.to(theta) for vector in scales.vectors())
    code = ((theta - offset) / scale).detach().requires_grad_(True)
    optimizer = Adam([code], schedule.lr, schedule.betas)
    for step in range(schedule.steps):
        optimizer.lr = learning_rate(schedule, step)
        with torch.enable_grad():
            current = offset + scale * code
            loss = loss_fn(step, current, renderer(current))
        (code.grad,) = torch.autograd.grad(loss.sum(), [code])
        broken = ~code.grad.isfinite().all(dim=1)
        code.grad[broken] = 0.0
        resting = code.detach()[broken]
        optimizer.step()
        code.detach()[broken] = resting  # a diverged image must not move: Adam's momentum would move it
    return offset + scale * code.detach()


def learning_rate(schedule: AdamSchedule, step: int) -> float:
    """Compute Adam's rate in a step: `lr` in the first one, falling towards zero.

    Args:
        schedule: rate and steps.
        step: from 0 to `steps` - 1.

    Returns:
        Rate in units of the head's scales.
    """
    done = step / schedule.steps
    left = 1 - done if schedule.lr_decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return schedule.lr * left


@torch.no_grad()
def estimate_mask(mask_fn: MaskFn, images: Tensor, rendering: Rendering) -> Tensor:
    """Compute M for a rendering, without a graph.

    Args:
        mask_fn: gives M.
        images: [B, 3, H, W], RGB in [0, 1].
        rendering: of the same images.

    Returns:
        M, [B, 1, H, W].
    """
    return mask_fn(images, rendering)


def fitting_loss(
    images: Float[Tensor, "B 3 H W"],
    rendering: Rendering,
    mask: Float[Tensor, "B 1 H W"],
    theta: Float[Tensor, "B 257"],
    landmarks: Float[Tensor, "B 68 2"] | None,
    settings: RefineSettings,
) -> Float[Tensor, " B"]:
    """Compute the loss of each image by itself: Eq. 5, Eq. 7 and the regulariser.

    Args:
        images: RGB in [0, 1].
        rendering: of `theta`.
        mask: M, 1 = pixels to fit.
        theta: current parameters.
        landmarks: px of the images; None: no landmark term.
        settings: weights.

    Returns:
        One loss per image.
    """
    inside = mask * rendering.mask
    distance = (images - rendering.image).square().sum(1, keepdim=True).add(1e-8).sqrt()
    loss = settings.pixel * (inside * distance).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1.0)
    if landmarks is not None:
        per_px = REFERENCE_SIZE / images.shape[-1]
        error = (per_px * (rendering.landmarks - landmarks)).square().mean((1, 2))
        loss = loss + settings.landmark * error
    parts = split_theta(theta)
    squared = parts.alpha.square().sum(1) + parts.albedo.square().sum(1)
    return loss + settings.regularizer * squared
