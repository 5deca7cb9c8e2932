"""The preliminary masks of the initialisation and the losses that use them: equations 9 and 10 (section 3.3)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from focus_ray.focus.losses.distances import squared_distance
from focus_ray.focus.pooled_ratio import PooledRatio

PAPER_XI = 0.17  # section 3.3
RELEASE_SIGMA = 0.043  # released code: standard deviation of the colour error of a face pixel
RELEASE_XI = (3 * RELEASE_SIGMA) ** 2  # released code: three sigma, a tenth of the paper's value


def preliminary_mask(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    xi: float = PAPER_XI,
) -> Float[Tensor, "B 1 H W"]:
    """Compute M_pre (Eq. 10): 1 where (I_T - I_R)^2 < xi inside the rendered region, 0 elsewhere.

    A threshold has no gradient, so the result is a constant.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        region: rendered region, 1 inside.
        xi: bound of the squared colour distance, summed over the channels.

    Returns:
        Mask, 1 = face.
    """
    with torch.no_grad():
        return region * (squared_distance(target, rendering) < xi)


def log_likelihood(
    target: Float[Tensor, "B 3 H W"], rendering: Float[Tensor, "B 3 H W"], sigma: float = RELEASE_SIGMA
) -> Float[Tensor, "B 1 H W"]:
    """Compute log P_face(x) (Eq. 9): -(I_T(x) - I_R(x))^2 / (2 sigma^2) + N_c.

    N_c is the logarithm of the normalisation of a Gaussian over three channels, -3/2 ln(2 pi) - 3 ln(sigma).

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        sigma: standard deviation of the colour error of a face pixel.

    Returns:
        Log-likelihoods of the pixels.
    """
    constant = -1.5 * math.log(2 * math.pi) - 3 * math.log(sigma)
    return constant - squared_distance(target, rendering) / (2 * sigma**2)


def truncated_nll(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    *,
    sigma: float = RELEASE_SIGMA,
    xi: float = RELEASE_XI,
) -> Float[Tensor, ""]:
    """Compute the released code's pixel loss of the initialisation: -mean over all pixels of M_pre log P_face.

    It is usually negative: a well explained pixel adds -N_c. The mask is a constant for the gradient.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        region: rendered region, 1 inside.
        sigma: standard deviation of the colour error of a face pixel.
        xi: bound of the squared colour distance in M_pre.

    Returns:
        Mean over all pixels of the batch.
    """
    return -(preliminary_mask(target, rendering, region, xi) * log_likelihood(target, rendering, sigma)).mean()


def mask_cross_entropy_sum(
    logits: Float[Tensor, "B 1 H W"], label: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]
) -> PooledRatio:
    """Compute numerator and denominator of `mask_cross_entropy`.

    Args:
        logits: output of the segmentation network before its sigmoid.
        label: M_pre, 1 = face.
        region: rendered region, 1 inside.

    Returns:
        Sum of the entropies, and number of rendered pixels.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return PooledRatio((entropy * region).sum(), region.sum())


def mask_cross_entropy(
    logits: Float[Tensor, "B 1 H W"], label: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """Compute the binary cross entropy of the segmentation with M_pre as label (section 3.3).

    Args:
        logits: the segmentation network before its sigmoid (`UNet.forward`): a saturated mask still has a gradient.
        label: M_pre, 1 = face.
        region: rendered region, 1 inside.

    Returns:
        Mean over the rendered pixels of the batch.
    """
    return mask_cross_entropy_sum(logits, label, region).ratio()
