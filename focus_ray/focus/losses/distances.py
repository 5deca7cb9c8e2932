"""The two distances that the losses are made of: the colour distance of pixels and the cosine distance of features."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.numerics.float32 import promote_to_float32

# Feature vectors shorter than this have no direction.
MIN_FEATURE_NORM = 1e-8


def squared_distance(a: Float[Tensor, "B C H W"], b: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
    """||a(x) - b(x)||^2 over the channels, for each pixel; images in [0, 1] give values in [0, 3]."""
    return (a - b).square().sum(dim=1, keepdim=True)


def safe_sqrt(squared: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Square root whose gradient at 0 is 0 instead of infinite: the subgradient of a norm at the origin.

    What is not a number stays so: a broken picture must not look like a perfect fit.
    """
    zero = squared == 0
    return torch.where(zero, 1.0, squared).sqrt() * ~zero


def cosine_distance(
    x: Float[Tensor, "B D *S"], y: Float[Tensor, "B D *S"], *, width_normalised: bool = False
) -> Float[Tensor, ""]:
    """cos(X, Y) = 1 - X.Y / (|X| |Y|) of the paper, section 3.2, over dimension 1, averaged over all others.

    Takes embeddings [B, D] or feature maps [B, D, h, w]: a map is compared location by location. Computed as
    |X/|X| - Y/|Y||^2 / 2, which is the same number without cancellation when X and Y are close. A vector of length
    zero is at distance 1 from any other and at distance 0 from itself, with gradient 0. Features in half precision are
    compared in float32.

    width_normalised: the released code divides its feature maps by their norm along the image width before it
    compares them over the channels (its normalisation runs over the last dimension).
    """
    x, y = promote_to_float32(x), promote_to_float32(y)
    if width_normalised and x.dim() > 2:
        x, y = _unit(x, dim=-1)[0], _unit(y, dim=-1)[0]
    x_unit, x_short = _unit(x, dim=1)
    y_unit, y_short = _unit(y, dim=1)
    one_is_zero = (x_short != y_short).squeeze(1)
    return (0.5 * (x_unit - y_unit).square().sum(dim=1) + 0.5 * one_is_zero).mean()


def _unit(x: Tensor, dim: Literal[1, -1]) -> tuple[Tensor, Tensor]:
    """x / |x| along a dimension, and where |x| was too short to have a direction (there the result is a constant 0)."""
    squared = x.square().sum(dim=dim, keepdim=True)
    short = squared <= MIN_FEATURE_NORM**2
    return torch.where(short, 0.0, x / torch.where(short, 1.0, squared).sqrt()), short
