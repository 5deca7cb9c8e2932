"""The losses that train the face autoencoder: equations 5 to 7 and the regulariser of Eq. 8 (section 3.2)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.face_models.landmarks import INNER_LIP, N_LANDMARKS, NOSE_RIDGE
from focus_ray.focus.losses.distances import cosine_distance, safe_sqrt, squared_distance
from focus_ray.focus.pooled_ratio import PooledRatio

RELEASE_NOSE_RIDGE = NOSE_RIDGE[1:]
# "We set the weights for the landmarks on the nose ridge and inner lip as 20, and the rest as 1": section 3.2.
EMPHASIS_WEIGHT = 20.0
# The image size at which the paper's landmark weight 5e-4 counts squared pixels.
REFERENCE_SIZE = 224
# Identity 80 + expression 64 + albedo 80: the coefficients of theta that the released code regularises.
N_FACE_COEFFICIENTS = 224

LandmarkEmphasis = Literal["paper", "release", "uniform"]


def pixel_sum(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    *,
    norm: Literal["squared", "l21"] = "squared",
    normalise: Literal["mask", "image", "region"] = "mask",
    region: Float[Tensor, "B 1 H W"] | None = None,
) -> PooledRatio:
    """Compute numerator and denominator of `pixel`.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        mask: M in [0, 1].
        norm: see `pixel`.
        normalise: see `pixel`.
        region: see `pixel`.

    Returns:
        Sum of the masked errors, and the area or number of pixels to divide by.

    Raises:
        ValueError: `normalise` is "region" and there is no region.
    """
    squared = squared_distance(target * mask, rendering * mask)
    error = squared if norm == "squared" else safe_sqrt(squared)
    if normalise == "mask":
        counted = mask
    elif normalise == "image":
        counted = torch.ones_like(mask)
    elif region is not None:
        counted = region
    else:
        raise ValueError('normalise="region" needs the rendered region; pass region=')
    return PooledRatio(error.sum(), counted.sum())


def pixel(
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    *,
    norm: Literal["squared", "l21"] = "squared",
    normalise: Literal["mask", "image", "region"] = "mask",
    region: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """Compute L_pixel (Eq. 5): ||(I_T - I_R) M||^2, summed over the channels.

    The paper's sum grows with batch and image size; here it is divided by an area, pooled over the batch.

    Args:
        target: I_T, RGB in [0, 1].
        rendering: I_R, RGB.
        mask: M in [0, 1]; a mask without area gives 0.
        norm: "l21" sums the colour distances instead of their squares (released code).
        normalise: divide by the area of the mask ("mask", released code), by the number of all pixels ("image"), or by
            the area of `region` ("region": a loss that a shrinking mask lowers, for the initialisation).
        region: rendered region, 1 inside; needed for "region" only.

    Returns:
        The loss, pooled over the batch.

    Raises:
        ValueError: `normalise` is "region" and there is no region.
    """
    return pixel_sum(target, rendering, mask, norm=norm, normalise=normalise, region=region).ratio()


def perceptual(
    embedding_target: Float[Tensor, "B D *S"], embedding_rendering: Float[Tensor, "B D *S"]
) -> Float[Tensor, ""]:
    """Compute L_per (Eq. 6): cos(F(I_T), F(I_R)), the cosine distance 1 - X.Y / (|X| |Y|) of the embeddings.

    Args:
        embedding_target: F(I_T).
        embedding_rendering: F(I_R).

    Returns:
        Mean over batch and locations.
    """
    return cosine_distance(embedding_target, embedding_rendering)


def landmark_weights(emphasis: LandmarkEmphasis = "paper") -> Float[Tensor, " 68"]:
    """Return the weight of each of the 68 landmarks (iBUG order).

    Args:
        emphasis: "paper": 20 on nose ridge 27-30 and inner lip 60-67, 1 elsewhere; "release": the same without 27;
            "uniform": all 1.

    Returns:
        Weights, float32.
    """
    weights = torch.ones(N_LANDMARKS)
    if emphasis != "uniform":
        ridge = NOSE_RIDGE if emphasis == "paper" else RELEASE_NOSE_RIDGE
        weights[[*ridge, *INNER_LIP]] = EMPHASIS_WEIGHT
    return weights


def landmark(
    target_landmarks: Float[Tensor, "B 68 2"],
    predicted_landmarks: Float[Tensor, "B 68 2"],
    weights: Float[Tensor, " 68"] | None = None,
    *,
    squared_weights: bool = False,
    image_size: int = REFERENCE_SIZE,
) -> Float[Tensor, ""]:
    """Compute L_lm (Eq. 7): ||lm_T - lm_R||^2 in squared pixels, each landmark with its weight.

    Args:
        target_landmarks: detected, px of the images.
        predicted_landmarks: px of the images.
        weights: w_j of each landmark; None: `landmark_weights("paper")`.
        squared_weights: multiply the distance by the weight before squaring, so 20 acts as 400 (released code, with
            `landmark_weights("release")`).
        image_size: size of the images, px; distances are scaled to 224 px, where the paper's lambda_3 was chosen.

    Returns:
        Mean of w_j (lm_T - lm_R)^2 over batch, landmarks and the two coordinates: if all points are off by one pixel in
        x and y, the mean of the weights.
    """
    if weights is None:
        weights = landmark_weights("paper")
    weights = weights.to(predicted_landmarks)[:, None]
    offset = (target_landmarks - predicted_landmarks) * (REFERENCE_SIZE / image_size)
    return ((weights.square() if squared_weights else weights) * offset.square()).mean()


def regularizer(
    theta: Float[Tensor, "B D"], *, form: Literal["paper", "release"] = "paper", coefficients: int | None = None
) -> Float[Tensor, ""]:
    """Compute L_reg of Eq. 8: ||theta||^2, the sum over the parameters, mean over the batch.

    Args:
        theta: parameters; the face coefficients come first.
        form: "release" takes only the 224 coefficients of identity, expression and albedo, and divides by their number.
        coefficients: take only this many leading entries of theta; None: those of the form.

    Returns:
        The loss.
    """
    if form == "paper":
        return theta[:, :coefficients].square().sum(dim=1).mean()
    chosen = theta[:, : N_FACE_COEFFICIENTS if coefficients is None else coefficients]
    return chosen.square().sum(dim=1).mean() / chosen.shape[1]
