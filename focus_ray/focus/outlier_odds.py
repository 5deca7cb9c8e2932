"""Which pixels a fit of a photograph explains: the segmenter, the residual, the chroma and the photograph's edges.

The segmenter alone calls an occluder skin if the fit can paint it. Here each pixel has log odds of being face, from

- S, with a small weight and bounded, so that it cannot outvote a large residual;
- the neighbour residual (Eq. 1) over the one that is usual in that part of the face on open portraits;
- the residual of the chroma, r / (r + g + b) and so on, in which shadows on skin are small and cloth is not;

and a mean field makes neighbouring pixels of a similar colour agree.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import AppearancePrior
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.mean_field import MeanFieldSettings, mean_field
from focus_ray.focus.render.renderer import Rendering
from focus_ray.settings import Settings

_LARGEST_LOG_ODDS = 5.0  # of S
_LEAST_PROBABILITY = 0.01  # of M, before its edges are moved
_LEAST_RATIO = 0.05  # of residual and usual residual
_LEAST_BRIGHTNESS = 0.05  # r + g + b: below it, chroma is noise


class OutlierSettings(Settings):
    """Weights of the log odds, chosen on composites of portraits that no figure is reported of."""

    segmenter: float = 0.1  # of the log odds of S
    residual: float = 1.0  # of the logarithm of residual over usual residual
    chroma: float = 20.0  # of the residual of the chroma above `chroma_floor`
    chroma_floor: float = 0.03  # what four fifths of the pixels of open faces do not exceed
    bias: float = 0.6
    field: MeanFieldSettings = MeanFieldSettings()
    edges: MeanFieldSettings = MeanFieldSettings(reach=9, distance_px=5.0, iterations=2)  # of the enlarged mask


def face_log_odds(
    prior: AppearancePrior,
    face_model: MorphableModel,
    images: Float[Tensor, "B 3 H W"],
    rendering: Rendering,
    segmentation: Float[Tensor, "B 1 H W"],
    settings: OutlierSettings,
) -> Float[Tensor, "B 1 H W"]:
    """Compute the log odds that a rendered pixel shows the face, of each pixel by itself.

    Args:
        prior: usual residuals of open faces.
        face_model: face model of the rendering.
        images: RGB in [0, 1].
        rendering: fit of the images.
        segmentation: S for the rendering, in [0, 1].
        settings: weights.

    Returns:
        Log odds; meaningless where nothing is rendered.
    """
    ratio = neighbor_residual(images, rendering.image) / prior.expected_residual(face_model, rendering)
    colour = neighbor_residual(_chroma(images), _chroma(rendering.image.clamp(0, 1)))
    seen = torch.logit(segmentation, eps=1e-4).clamp(-_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)
    return (
        settings.bias
        + settings.segmenter * seen
        - settings.residual * ratio.clamp_min(_LEAST_RATIO).log()
        - settings.chroma * (colour - settings.chroma_floor).clamp_min(0)
    )


def face_probability(
    log_odds: Float[Tensor, "B 1 H W"],
    images: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    settings: OutlierSettings,
) -> Float[Tensor, "B 1 H W"]:
    """Compute the probability that a rendered pixel shows the face, given its neighbours.

    Args:
        log_odds: of each pixel by itself.
        images: RGB in [0, 1].
        region: 1 where the face is rendered.
        settings: settings of the mean field.

    Returns:
        M: probabilities inside the region, 0 outside.
    """
    return mean_field(log_odds, images, region, settings.field) * region


def enlarge(
    mask: Float[Tensor, "B 1 h w"], region: Float[Tensor, "B 1 h w"], larger: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 1 H W"]:
    """Enlarge a mask to another rendering of the same fit, without the zeros outside of its region.

    Args:
        mask: M.
        region: 1 where the face is rendered.
        larger: the region of the other rendering.

    Returns:
        M inside the larger region, 0 outside.
    """
    size = larger.shape[-2:]
    values = functional.interpolate(mask * region, size=size, mode="bilinear", align_corners=False)
    covered = functional.interpolate(region, size=size, mode="bilinear", align_corners=False)
    return values / covered.clamp_min(1e-3) * larger


def sharpen(
    mask: Float[Tensor, "B 1 H W"],
    images: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    settings: OutlierSettings,
) -> Float[Tensor, "B 1 H W"]:
    """Move the edges of an enlarged mask to those of the photograph.

    Args:
        mask: M.
        images: RGB in [0, 1].
        region: 1 where the face is rendered.
        settings: settings of the mean field.

    Returns:
        M inside the region, 0 outside.
    """
    return mean_field(torch.logit(mask, eps=_LEAST_PROBABILITY), images, region, settings.edges) * region


def _chroma(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    return images / images.sum(dim=1, keepdim=True).clamp_min(_LEAST_BRIGHTNESS)
