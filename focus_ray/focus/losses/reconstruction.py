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
    """Numerator and denominator of ``pixel``, which see."""
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
    """L_pixel, Eq. 5: ||(I_T - I_R) M||^2, summed over the channels.

    The paper's sum grows with batch and image size; here it is divided by the area of the mask, pooled over the batch
    (normalise="mask"), by the number of all pixels ("image"), or by the area of ``region`` ("region": a loss that a
    shrinking mask lowers, for the initialisation). A mask without area gives 0.

    norm="l21" sums the colour distances instead of their squares (released code: "l21" and "mask").
    """
    return pixel_sum(target, rendering, mask, norm=norm, normalise=normalise, region=region).ratio()


def perceptual(
    embedding_target: Float[Tensor, "B D *S"], embedding_rendering: Float[Tensor, "B D *S"]
) -> Float[Tensor, ""]:
    """L_per, Eq. 6: cos(F(I_T), F(I_R)), the cosine distance 1 - X.Y/(|X||Y|) of the two embeddings, mean over B."""
    return cosine_distance(embedding_target, embedding_rendering)


def landmark_weights(emphasis: LandmarkEmphasis = "paper") -> Float[Tensor, " 68"]:
    """The weight of each of the 68 landmarks (iBUG order).

    "paper": 20 on nose ridge 27-30 and inner lip 60-67, 1 elsewhere; "release": the same without 27; "uniform": all 1.
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
    """L_lm, Eq. 7: ||lm_T - lm_R||^2 in squared pixels, each landmark with its weight.

    The mean over batch, landmarks and the two coordinates of w_j (lm_T - lm_R)^2, so that all points off by one pixel
    in x and y give the mean of the weights. weights: default ``landmark_weights("paper")``.

    squared_weights: the weight multiplies the distance before squaring, so 20 acts as 400 (released code, with
    ``landmark_weights("release")``).
    image_size: size of the images in px; distances are taken to 224 px, where the paper's lambda_3 was chosen.
    """
    if weights is None:
        weights = landmark_weights("paper")
    weights = weights.to(predicted_landmarks)[:, None]
    offset = (target_landmarks - predicted_landmarks) * (REFERENCE_SIZE / image_size)
    return ((weights.square() if squared_weights else weights) * offset.square()).mean()


def regularizer(
    theta: Float[Tensor, "B D"], *, form: Literal["paper", "release"] = "paper", coefficients: int | None = None
) -> Float[Tensor, ""]:
    """L_reg of Eq. 8: ||theta||^2, the sum over the parameters, mean over the batch.

    form="release": only the 224 coefficients of identity, expression and albedo, and divided by their number.
    coefficients: only this many leading entries of theta instead (theta begins with the face coefficients).
    """
    if form == "paper":
        return theta[:, :coefficients].square().sum(dim=1).mean()
    chosen = theta[:, : N_FACE_COEFFICIENTS if coefficients is None else coefficients]
    return chosen.square().sum(dim=1).mean() / chosen.shape[1]
