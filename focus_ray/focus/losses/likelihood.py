"""The preliminary masks of the initialisation and what is fitted with them: equations 9 and 10 (section 3.3)."""

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
    """M_pre, Eq. 10: 1 where (I_T - I_R)^2 < xi (summed over the channels) inside the rendered region, 0 elsewhere.

    A threshold has no gradient, so the result is a constant.
    """
    with torch.no_grad():
        return region * (squared_distance(target, rendering) < xi)


def log_likelihood(
    target: Float[Tensor, "B 3 H W"], rendering: Float[Tensor, "B 3 H W"], sigma: float = RELEASE_SIGMA
) -> Float[Tensor, "B 1 H W"]:
    """log P_face(x), Eq. 9: -(I_T(x) - I_R(x))^2 / (2 sigma^2) + N_c of the Gaussian of a face pixel's colour error.

    N_c is the logarithm of the normalisation of a Gaussian over three channels, -3/2 ln(2 pi) - 3 ln(sigma).
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
    """The released code's pixel loss of the initialisation: -mean over all pixels of M_pre log P_face.

    Usually negative: a well explained pixel adds -N_c. The mask is a constant for the gradient.
    """
    return -(preliminary_mask(target, rendering, region, xi) * log_likelihood(target, rendering, sigma)).mean()


def mask_cross_entropy_sum(
    logits: Float[Tensor, "B 1 H W"], label: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]
) -> PooledRatio:
    """Numerator and denominator of ``mask_cross_entropy``, which see."""
    entropy = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return PooledRatio((entropy * region).sum(), region.sum())


def mask_cross_entropy(
    logits: Float[Tensor, "B 1 H W"], label: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """Binary cross entropy of the segmentation with M_pre as label (section 3.3), mean over the rendered region.

    logits: the segmentation network before its sigmoid (``UNet.forward``): a saturated mask still has a gradient.
    """
    return mask_cross_entropy_sum(logits, label, region).ratio()
