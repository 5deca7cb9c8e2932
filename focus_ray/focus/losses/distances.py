"""The two distances of the losses: the colour distance of pixels and the cosine distance of features."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.numerics.float32 import promote_to_float32

# Feature vectors shorter than this have no direction.
MIN_FEATURE_NORM = 1e-8


def squared_distance(a: Float[Tensor, "B C H W"], b: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
    """Compute ||a(x) - b(x)||^2 over the channels, for each pixel.

    Args:
        a: images, in [0, 1].
        b: images, in [0, 1].

    Returns:
        Squared distances, in [0, 3] for RGB.
    """
    return (a - b).square().sum(dim=1, keepdim=True)


def safe_sqrt(squared: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Compute the square root with gradient 0 at 0, not infinite: the subgradient of a norm at the origin.

    Args:
        squared: values, not negative.

    Returns:
        Roots. NaN stays NaN: a broken image must not count as a perfect fit.
    """
    zero = squared == 0
    return torch.where(zero, 1.0, squared).sqrt() * ~zero


def cosine_distance(
    x: Float[Tensor, "B D *S"], y: Float[Tensor, "B D *S"], *, width_normalised: bool = False
) -> Float[Tensor, ""]:
    """Compute cos(X, Y) = 1 - X.Y / (|X| |Y|) of the paper, section 3.2, over dimension 1.

    Computed as |X/|X| - Y/|Y||^2 / 2, which is the same number without cancellation when X and Y are close. A vector of
    length zero is at distance 1 from any other and at distance 0 from itself, with gradient 0. Features in half
    precision are compared in float32.

    Args:
        x: embeddings [B, D], or feature maps [B, D, h, w], which are compared location by location.
        y: features of the same shape.
        width_normalised: first divide feature maps by their norm along the image width (the last dimension), as the
            released code does.

    Returns:
        Mean over all dimensions but dimension 1, in [0, 2].
    """
    x, y = promote_to_float32(x), promote_to_float32(y)
    if width_normalised and x.dim() > 2:
        x, y = _unit(x, dim=-1)[0], _unit(y, dim=-1)[0]
    x_unit, x_short = _unit(x, dim=1)
    y_unit, y_short = _unit(y, dim=1)
    one_is_zero = (x_short != y_short).squeeze(1)
    return (0.5 * (x_unit - y_unit).square().sum(dim=1) + 0.5 * one_is_zero).mean()


def _unit(x: Tensor, dim: Literal[1, -1]) -> tuple[Tensor, Tensor]:
    """Return x / |x| along a dimension, and where |x| is too short to have a direction (the result is 0 there)."""
    squared = x.square().sum(dim=dim, keepdim=True)
    short = squared <= MIN_FEATURE_NORM**2
    return torch.where(short, 0.0, x / torch.where(short, 1.0, squared).sqrt()), short
