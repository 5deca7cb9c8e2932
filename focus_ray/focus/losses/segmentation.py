"""The losses that train the segmentation network: equations 1 to 4 and the term that makes masks binary (section 3.2).

Throughout, M is the mask: the soft output of the segmentation network inside the rendered region m, M = m S, 0 outside.
No function detaches its arguments; the caller decides where gradients flow.
"""

from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from focus_ray.focus.losses.distances import cosine_distance, safe_sqrt, squared_distance
from focus_ray.focus.pooled_ratio import PooledRatio

# The mask value that is farthest from 0 and 1.
MASK_MIDPOINT = 0.5


def neighbor_residual(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    *,
    window: int = 3,
    squared: bool = False,
    centre: Literal["target", "rendering"] = "target",
) -> Float[Tensor, "B 1 H W"]:
    """Compute min over x' in N(x) of ||I_T(x) - I_R(x')||, the inner part of Eq. 1 without the mask.

    N(x) is a square of `window` x `window` pixels; at the border it is the part of the square inside the image.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        window: side of the neighbourhood, px, odd.
        squared: return the square of the distance.
        centre: image of the single pixel; the other one gives the neighbourhood (released code: "rendering").

    Returns:
        Distance of each pixel to the best pixel of its neighbourhood, in [0, sqrt(3)] for colours in [0, 1].

    Raises:
        ValueError: the window is even or not positive.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the neighbourhood must have an odd size, got {window}; choose 1, 3, 5, ...")
    single, around = (target, rendering) if centre == "target" else (rendering, target)
    height, width = single.shape[-2:]
    reach = window // 2
    # A repeated border pixel is in the neighbourhood already, so this padding adds no candidates.
    padded = functional.pad(around, [reach] * 4, mode="replicate") if reach else around
    shifts = ((dy, dx) for dy in range(window) for dx in range(window))
    distances = (squared_distance(single, padded[..., dy : dy + height, dx : dx + width]) for dy, dx in shifts)
    best = reduce(torch.minimum, distances)
    return best if squared else safe_sqrt(best)


def neighbor_sum(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    *,
    window: int = 3,
    squared: bool = True,
    centre: Literal["target", "rendering"] = "target",
    premultiplied: bool = False,
    normalise: Literal["image", "mask"] = "image",
    border: Literal["keep", "drop"] = "keep",
) -> PooledRatio:
    """Compute numerator and denominator of `neighbor`.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        mask: M, 0 outside the rendered region.
        window: see `neighbor`.
        squared: see `neighbor`.
        centre: see `neighbor`.
        premultiplied: see `neighbor`.
        normalise: see `neighbor`.
        border: see `neighbor`.

    Returns:
        Sum of the masked residuals, and the number of pixels or the area of the mask.

    Raises:
        ValueError: the window is even or not positive.
    """
    if premultiplied:
        target, rendering, weight = target * mask, rendering * mask, torch.ones_like(mask)
    else:
        weight = mask
    residual = weight * neighbor_residual(target, rendering, window=window, squared=squared, centre=centre)
    if border == "drop":
        inside = slice(window // 2, -(window // 2) or None)
        residual, mask = residual[..., inside, inside], mask[..., inside, inside]
    counted = torch.ones_like(mask) if normalise == "image" else mask
    return PooledRatio(residual.sum(), counted.sum())


def neighbor(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    *,
    window: int = 3,
    squared: bool = True,
    centre: Literal["target", "rendering"] = "target",
    premultiplied: bool = False,
    normalise: Literal["image", "mask"] = "image",
    border: Literal["keep", "drop"] = "keep",
) -> Float[Tensor, ""]:
    """Compute L_nbr (Eq. 1): sum over x in Omega of || min over x' in N(x) of ||I_T(x) - I_R(x')|| ||^2.

    Omega is the face region of the segmentation network: each pixel counts with its mask value. The paper's sum grows
    with batch and image size; here it is normalised.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        mask: M, 0 outside the rendered region.
        window: see `neighbor_residual` (released code: 5).
        squared: see `neighbor_residual` (released code: False).
        centre: see `neighbor_residual` (released code: "rendering").
        premultiplied: multiply both images by the mask at their own pixels first, and do not use the mask again
            (released code: True).
        normalise: "image" divides by the number of pixels of the batch (zero outside the mask, so shrinking the mask
            lowers the loss as Eq. 1 does), "mask" by the area of the mask.
        border: "drop" leaves out the pixels whose neighbourhood is cut by the image border (released code).

    Returns:
        The loss, pooled over the batch.

    Raises:
        ValueError: the window is even or not positive.
    """
    pooled = neighbor_sum(
        target,
        rendering,
        mask,
        window=window,
        squared=squared,
        centre=centre,
        premultiplied=premultiplied,
        normalise=normalise,
        border=border,
    )
    return pooled.ratio()


def dist(
    features_target_masked: Float[Tensor, "B D *S"],
    features_rendering_masked: Float[Tensor, "B D *S"],
    *,
    width_normalised: bool = False,
) -> Float[Tensor, ""]:
    """Compute L_dist (Eq. 2): cos(F(I_T M), F(I_R M)), the cosine distance of masked target and masked rendering.

    Args:
        features_target_masked: F(I_T M), embeddings [B, D], or feature maps [B, D, h, w] compared location by location.
        features_rendering_masked: F(I_R M), same shape.
        width_normalised: see `cosine_distance` (released code: True, on its layer-1 maps).

    Returns:
        Mean of 1 - X.Y / (|X| |Y|) over batch and locations.
    """
    return cosine_distance(features_target_masked, features_rendering_masked, width_normalised=width_normalised)


def area(
    mask: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"], *, form: Literal["paper", "release"] = "paper"
) -> Float[Tensor, ""]:
    """Compute L_area (Eq. 3): -S_M / S_R, the area of the mask over the area of the rendered face.

    Args:
        mask: M, 0 outside the rendered region.
        region: rendered region, 1 inside.
        form: "release" is sum (m - M) / S_R = 1 - S_M / S_R, which has the same gradient.

    Returns:
        Mean over the images; an image without a rendered face gives 0.
    """
    rendered = region.sum(dim=(1, 2, 3)).clamp_min(1.0)
    missing = -mask if form == "paper" else region - mask
    return (missing.sum(dim=(1, 2, 3)) / rendered).mean()


def presv(
    features_target_masked: Float[Tensor, "B D *S"],
    features_target: Float[Tensor, "B D *S"],
    *,
    width_normalised: bool = False,
) -> Float[Tensor, ""]:
    """Compute L_presv (Eq. 4): cos(F(I_T M), F(I_T)), the cosine distance of the target with and without the mask.

    Args:
        features_target_masked: F(I_T M), embeddings or feature maps as in `dist`.
        features_target: F(I_T), same shape.
        width_normalised: see `cosine_distance`.

    Returns:
        Mean over batch and locations.
    """
    return cosine_distance(features_target_masked, features_target, width_normalised=width_normalised)


def binary_sum(
    mask: Float[Tensor, "B 1 H W"],
    region: Float[Tensor, "B 1 H W"] | None = None,
    *,
    form: Literal["paper", "release"] = "paper",
) -> PooledRatio:
    """Compute numerator and denominator of `binary`.

    Args:
        mask: M in [0, 1].
        region: see `binary`.
        form: see `binary`.

    Returns:
        Sum over the counted pixels, and their number.
    """
    away = mask - MASK_MIDPOINT
    value = -away.square() if form == "paper" else MASK_MIDPOINT - away.abs()
    counted = torch.ones_like(mask) if region is None else region
    return PooledRatio((value * counted).sum(), counted.sum())


def binary(
    mask: Float[Tensor, "B 1 H W"],
    region: Float[Tensor, "B 1 H W"] | None = None,
    *,
    form: Literal["paper", "release"] = "paper",
) -> Float[Tensor, ""]:
    """Compute L_bin (section 3.2): -sum over x of (M(x) - 0.5)^2, as a mean over the pixels of the batch.

    With a large weight decisions stay as they are. L_nbr (Eq. 1), L_area and L_bin give a pixel of residual r the slope
    eta_1 r^2 - eta_3 / f - 2 eta_5 (M - 0.5), up to the number of pixels; f is the share of the image that is rendered.
    With the paper's 15, 0.5 and 10 and f = 3/8 a pixel at M = 0.9 becomes less face only where r > 0.79, a colour
    distance that few occluders have. At M = 0.5 the slope of L_bin is 0.

    Args:
        mask: M in [0, 1].
        region: average over its pixels only, pooled over the batch. None: over all pixels, as in the paper's sum;
            pixels outside the rendered face have M = 0 and add a constant.
        form: "release" is 0.5 - mean |M - 0.5|: 0 for a binary mask, 0.5 for M = 0.5 everywhere.

    Returns:
        The mean; form "paper" gives -0.25 for a binary M.
    """
    return binary_sum(mask, region, form=form).ratio()


def planted_sum(
    logits: Float[Tensor, "B 1 H W"],
    planted: Float[Tensor, "B 1 H W"],
    explained: Float[Tensor, "B 1 H W"],
    *,
    outlier_weight: float = 2.0,
) -> PooledRatio:
    """Compute numerator and denominator of L_planted: the cross entropy of S on pixels whose label is known.

    Not in the paper. Occluders are planted (pasted) into photographs and renders, so their pixels are outliers; a pixel
    beside them is face if the fit explains it. All other pixels have no label: what the photographed persons wear.

    Args:
        logits: S before its sigmoid.
        planted: 1 where an occluder was pasted.
        explained: 1 where the fit explains the target.
        outlier_weight: weight of a planted pixel, relative to that of an explained one.

    Returns:
        Weighted sum of the entropies, and the sum of the weights.
    """
    weight = outlier_weight * planted + (1 - planted) * explained
    entropy = functional.binary_cross_entropy_with_logits(logits, 1 - planted, reduction="none")
    return PooledRatio((entropy * weight).sum(), weight.sum())
