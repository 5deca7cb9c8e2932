"""The terms of L_R for one forward pass of the autoencoder (Eq. 5-8), by symbol."""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus import losses
from focus_ray.focus.autoencoder import AutoencoderOutput, Focus
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.pooled_ratio import PooledRatio, pooled_mean
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.state import Targets


def encode_and_render(encoder: nn.Module, focus: Focus, batch: Targets) -> AutoencoderOutput:
    """Run the autoencoder with `encoder` in place of its own encoder (`TrainState.ddp_module`)."""
    theta = encoder(batch.images)
    return AutoencoderOutput(theta, focus.renderer(theta))


def reconstruction_terms(
    focus: Focus,
    batch: Targets,
    theta: Float[Tensor, "B 257"],
    rendering: Rendering,
    mask: Float[Tensor, "B 1 H W"],
    weights: ReconstructionWeights,
) -> dict[str, PooledRatio]:
    """Compute the terms of L_R (Eq. 5-8), unweighted.

    Args:
        focus: networks; its perceptual network gives L_per.
        batch: targets.
        theta: predicted parameters.
        rendering: of these parameters.
        mask: M, 1 = pixels to fit.
        weights: weights and options of the losses.

    Returns:
        Terms by symbol: pixel, lm, reg; per if it has a weight and a perceptual network; area if it has a weight.
    """
    mean = partial(pooled_mean, count=len(batch.images))
    terms = {
        "pixel": losses.pixel_sum(
            batch.images,
            rendering.image,
            mask,
            norm=weights.pixel_norm,
            normalise=weights.pixel_normalise,
            region=rendering.mask,
        ),
        "lm": mean(
            losses.landmark(
                batch.landmarks,
                rendering.landmarks,
                losses.landmark_weights(weights.landmark_emphasis),
                squared_weights=weights.landmark_squared_weights,
                image_size=batch.images.shape[-1],
            )
        ),
        "reg": mean(
            losses.regularizer(theta, form=weights.regularizer_form, coefficients=weights.regularizer_coefficients)
        ),
    }
    if weights.lambda_per and focus.perceptual is not None:
        terms["per"] = mean(
            losses.perceptual(
                focus.perceptual.embedding(batch.images, batch.landmarks).detach(),
                focus.perceptual.embedding(rendering.image, rendering.landmarks),
            )
        )
    if weights.lambda_area:
        terms["area"] = mean(losses.area(mask, rendering.mask, form="release"))
    return terms
