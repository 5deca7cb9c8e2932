"""A few dozen gradient steps on theta per image, from the encoder's answer: the same losses, one image at a time.

The paper predicts theta in one pass (Fig. 2b). With a small encoder most of the error is the encoder's own, and
descending the reconstruction loss of each image removes it; the mask is re-estimated on the way, as in the EM loop.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from focus_ray.focus.face.parameters import ParameterScales, split
from focus_ray.focus.metrics import REFERENCE_SIZE
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.focus.settings import Settings

MaskOf = Callable[[Tensor, Rendering], Tensor]  # (images, rendering) -> M [B, 1, H, W]


class RefineSettings(Settings):
    """Weights and steps of the refinement. Terms are per image: a result knows nothing of its neighbours."""

    steps: int = Field(default=50, ge=0)
    lr: float = Field(default=0.12, gt=0)  # of Adam, in units of the head's scales; falls to zero as a cosine
    pixel: float = 3.0  # of the mean colour distance inside the mask
    landmark: float = 5e-3  # of the mean squared distance, px^2 at 224
    regularizer: float = 0.1 / 224  # of the sum of squared sigmas
    mask_every: int = Field(default=10, gt=0)  # steps between two estimates of the mask


DEFAULT = RefineSettings()


class Refined(NamedTuple):
    """Where the descent ended."""

    theta: Tensor  # [B, 257]
    rendering: Rendering
    mask: Tensor  # [B, 1, H, W], soft, inside the rendered region


def refine(
    renderer: Renderer,
    scales: ParameterScales,
    images: Float[Tensor, "B 3 H W"],
    theta: Float[Tensor, "B 257"],
    mask_of: MaskOf,
    landmarks: Float[Tensor, "B 68 2"] | None = None,
    settings: RefineSettings = DEFAULT,
    progress: Callable[[int], None] | None = None,
) -> Refined:
    """Descend the masked pixel, landmark and regularisation losses of each image from `theta`.

    `mask_of` gives M for the current rendering; without `landmarks` (px of the images) that term is left out.
    """
    offset, scale = (vector.to(theta) for vector in scales.vectors())
    code = ((theta - offset) / scale).detach().requires_grad_(True)
    optimizer = torch.optim.Adam([code], lr=settings.lr)
    mask = None
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        with torch.enable_grad():
            current = offset + scale * code
            rendering = renderer(current)
            if mask is None or step % settings.mask_every == 0:
                mask = estimate(mask_of, images, rendering)
            loss = fitting_loss(images, rendering, mask, current, landmarks, settings)
        (code.grad,) = torch.autograd.grad(loss.sum(), [code])
        code.grad[~code.grad.isfinite().all(dim=1)] = 0.0  # a diverged image stays where it is
        optimizer.step()
        if progress is not None:
            progress(step)
    with torch.no_grad():
        final = offset + scale * code.detach()
        rendering = renderer(final)
        return Refined(final, rendering, estimate(mask_of, images, rendering))


@torch.no_grad()
def estimate(mask_of: MaskOf, images: Tensor, rendering: Rendering) -> Tensor:
    """M for a rendering, without a graph."""
    return mask_of(images, rendering)


def fitting_loss(
    images: Float[Tensor, "B 3 H W"],
    rendering: Rendering,
    mask: Float[Tensor, "B 1 H W"],
    theta: Float[Tensor, "B 257"],
    landmarks: Float[Tensor, "B 68 2"] | None,
    settings: RefineSettings,
) -> Float[Tensor, " B"]:
    """Eq. 5, 7 and the regulariser for each image by itself."""
    inside = mask * rendering.mask
    distance = (images - rendering.image).square().sum(1, keepdim=True).add(1e-8).sqrt()
    loss = settings.pixel * (inside * distance).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1.0)
    if landmarks is not None:
        per_px = REFERENCE_SIZE / images.shape[-1]
        error = (per_px * (rendering.landmarks - landmarks)).square().mean((1, 2))
        loss = loss + settings.landmark * error
    parts = split(theta)
    squared = parts.shape.square().sum(1) + parts.albedo.square().sum(1)
    return loss + settings.regularizer * squared
