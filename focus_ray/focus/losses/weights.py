"""Configuration of the losses (weights, and options of their equations), and the weighted sums L_S and L_R."""

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from focus_ray.focus.losses.reconstruction import LandmarkEmphasis
from focus_ray.settings import Settings


class SegmentationWeights(Settings):
    """L_S = eta_1 L_nbr + eta_2 L_dist + eta_3 L_area + eta_4 L_presv + eta_5 L_bin, section 3.2, the paper's weights.

    The options are the keyword arguments of the losses; comments give the released code's values where they differ. The
    paper's eta_bin keeps the decisions that S has made, see `losses.binary`.
    """

    eta_nbr: float = Field(default=15.0, ge=0)  # section 3.2
    eta_dist: float = Field(default=3.0, ge=0)  # section 3.2
    eta_area: float = Field(default=0.5, ge=0)  # section 3.2
    eta_presv: float = Field(default=2.5, ge=0)  # section 3.2; released code: 0.25
    eta_bin: float = Field(default=10.0, ge=0)  # section 3.2
    eta_planted: float = Field(default=0.0, ge=0)  # not in the paper, see `losses.planted_sum`

    neighbor_window: int = Field(default=3, ge=1)  # the first public code; the released code: 5
    neighbor_squared: bool = True  # Eq. 1; released code: False
    neighbor_centre: Literal["target", "rendering"] = "target"  # Eq. 1; released code: "rendering"
    neighbor_premultiplied: bool = False  # Eq. 1: Omega is a domain; released code: True
    neighbor_normalise: Literal["image", "mask"] = "image"
    neighbor_border: Literal["keep", "drop"] = "keep"  # released code: "drop"
    area_form: Literal["paper", "release"] = "paper"
    binary_form: Literal["paper", "release"] = "paper"
    binary_region_only: bool = False
    width_normalised: bool = False  # released code: True
    planted_outlier_weight: float = Field(default=2.0, gt=0)
    planted_explained: float = Field(default=3.0, gt=0)  # see `explained_mask`

    @field_validator("neighbor_window")
    @classmethod
    def _check_window(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError("the window needs a centre pixel; give an odd number")
        return window


class ReconstructionWeights(Settings):
    """L_R = lambda_1 L_pixel + lambda_2 L_per + lambda_3 L_lm + lambda_4 L_reg: Eq. 8. Defaults: the paper's."""

    lambda_pixel: float = Field(default=0.5, ge=0)  # Eq. 8
    lambda_per: float = Field(default=0.25, ge=0)  # Eq. 8
    lambda_lm: float = Field(default=5e-4, ge=0)  # Eq. 8
    lambda_reg: float = Field(default=0.1, ge=0)  # Eq. 8
    lambda_area: float = Field(default=0.0, ge=0)  # not in the paper; released code: 0.06
    lambda_teacher: float = Field(default=0.0, ge=0)  # not in the paper, see `em.TeacherSettings`

    pixel_norm: Literal["squared", "l21"] = "squared"  # Eq. 5; released code: "l21"
    pixel_normalise: Literal["mask", "image", "region"] = "mask"
    landmark_emphasis: LandmarkEmphasis = "paper"
    landmark_squared_weights: bool = False  # released code: True
    regularizer_form: Literal["paper", "release"] = "paper"
    regularizer_coefficients: int | None = Field(default=None, ge=1)
    detach_mask: bool = True  # section 3.2: the segmentation network is fixed; released code: False


SEGMENTATION_SYMBOLS = ("nbr", "dist", "area", "presv", "bin", "planted")
RECONSTRUCTION_SYMBOLS = ("pixel", "per", "lm", "reg", "area", "teacher")


def segmentation_total(terms: Mapping[str, Float[Tensor, ""]], weights: SegmentationWeights) -> Float[Tensor, ""]:
    """Compute L_S, the weighted sum of the terms that are present.

    Args:
        terms: at least one, by symbol: nbr, dist, area, presv, bin, planted.
        weights: one weight for each symbol.

    Returns:
        The weighted sum.

    Raises:
        ValueError: there is no term, or a symbol is unknown.
    """
    return _weighted_sum(terms, {symbol: getattr(weights, f"eta_{symbol}") for symbol in SEGMENTATION_SYMBOLS})


def reconstruction_total(terms: Mapping[str, Float[Tensor, ""]], weights: ReconstructionWeights) -> Float[Tensor, ""]:
    """Compute L_R, the weighted sum of the terms that are present.

    Args:
        terms: at least one, by symbol: pixel, per, lm, reg, area, teacher.
        weights: one weight for each symbol.

    Returns:
        The weighted sum.

    Raises:
        ValueError: there is no term, or a symbol is unknown.
    """
    return _weighted_sum(terms, {symbol: getattr(weights, f"lambda_{symbol}") for symbol in RECONSTRUCTION_SYMBOLS})


def _weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    unknown = sorted(set(terms) - set(weights))
    if unknown or not terms:
        raise ValueError(f"loss terms must be among {', '.join(weights)}; got {', '.join(unknown) or 'none'}")
    weighted = [weights[symbol] * term for symbol, term in terms.items()]
    return sum(weighted[1:], start=weighted[0])
