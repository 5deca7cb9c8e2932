"""Skin detector after Deep3D: skin colour as a multivariate Gaussian (section 4.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.errors import DataError
from focus_ray.focus.render.renderer import Rendering

# Rows: Y, Cb, Cr of RGB in [0, 1] (ITU-R BT.601), the space that Deep3D's detector works in.
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_MIN_PIXELS = 100  # fewest pixels to fit a Gaussian to
_JITTER = 1e-6  # added to each variance, which is 0 for pictures of one colour


class Gaussian(NamedTuple):
    """Gaussian distribution of YCbCr colours."""

    mean: Float[Tensor, "3"]
    precision: Float[Tensor, "3 3"]
    half_log_det: Float[Tensor, ""]  # half the log determinant of the covariance

    @classmethod
    def fit(cls, colours: Float[Tensor, "N 3"]) -> "Gaussian":
        """Fit the Gaussian of maximum likelihood.

        Args:
            colours: YCbCr colours of pixels with RGB in [0, 1].

        Returns:
            Mean, precision and half log determinant, float64.

        Raises:
            DataError: there are fewer than 100 colours.
        """
        if len(colours) < _MIN_PIXELS:
            raise DataError(
                f"{len(colours)} pixels are too few to fit colours; give more pictures, with face and background"
            )
        covariance = torch.cov(colours.double().T, correction=0) + _JITTER * torch.eye(3, dtype=torch.float64)
        return cls(colours.double().mean(0), covariance.inverse(), 0.5 * torch.logdet(covariance))

    def log_density(self, colours: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N"]:
        """Compute the log density of colours, up to a constant that all Gaussians share.

        Args:
            colours: YCbCr colours of pixels with RGB in [0, 1].

        Returns:
            Log density of each colour, float64.
        """
        off = colours.double() - self.mean.to(colours.device)
        return -0.5 * torch.einsum("...i,ij,...j->...", off, self.precision.to(off.device), off) - self.half_log_det


@dataclass(frozen=True)
class SkinColourSegmenter:
    """Mask rule by colour alone: a Gaussian of skin colours against one of all other colours."""

    skin: Gaussian
    rest: Gaussian
    log_prior: float  # prior log odds of skin

    @classmethod
    def fit(
        cls, images: Float[Tensor, "B 3 H W"], visible: Float[Tensor, "B 1 H W"], region: Float[Tensor, "B 1 H W"]
    ) -> "SkinColourSegmenter":
        """Fit both Gaussians to pictures with known masks.

        Args:
            images: RGB in [0, 1].
            visible: positive where the face is visible in truth.
            region: positive where a face may be rendered; only these pixels count.

        Returns:
            The fitted segmenter.

        Raises:
            DataError: skin or other colours have fewer than 100 pixels.
        """
        inside = (region > 0)[:, 0]
        face = (visible > 0)[:, 0] & inside
        colours = _ycbcr(images)
        skin, rest = Gaussian.fit(colours[face]), Gaussian.fit(colours[inside & ~face])
        return cls(skin, rest, float(torch.logit(face.sum() / inside.sum().double())))

    def __call__(self, images: Float[Tensor, "B 3 H W"], rendering: Rendering) -> Float[Tensor, "B 1 H W"]:
        """Compute the probability of skin for each pixel.

        Args:
            images: crops, RGB in [0, 1].
            rendering: renderings of their fits.

        Returns:
            Probability inside the rendered region, 0 outside.
        """
        colours = _ycbcr(images)
        odds = self.skin.log_density(colours) - self.rest.log_density(colours) + self.log_prior
        return torch.sigmoid(odds)[:, None].to(images) * rendering.mask


def _ycbcr(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W 3"]:
    return torch.einsum("ij,bjhw->bhwi", torch.tensor(_YCBCR, dtype=images.dtype, device=images.device), images)
