"""What photographs of open faces look like to the renderer: a prior of the light, and the residuals of a good fit.

Both are learned from fits of open portraits (`learn_appearance`) and belong to one model: the light prior tells how far
the light may deviate before it explains an occluder, the residuals tell where even a good fit deviates from skin (eyes,
lips, hair line).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.parameters import CHANNELS, SH_BANDS, split_theta
from focus_ray.focus.render.renderer import Rendering

CELLS = 24
"""Rows and columns of the grid over the face model's texture coordinates in which residuals are collected."""

_RESIDUAL_QUANTILE = 0.9
_LEAST_SAMPLES = 50  # pixels of a cell with a quantile of its own
_LIGHT_FLOOR = 0.02  # standard deviation that is added to that of each coefficient
_N_LIGHT = CHANNELS * SH_BANDS


@dataclass(frozen=True)
class AppearancePrior:
    """Light and residuals of fitted open faces.

    Attributes:
        light_mean: mean of the light's coefficients, R9|G9|B9.
        light_whitening: W with the precision W W^T, so that |(phi - mean) W|^2 is the squared Mahalanobis distance.
        residuals: neighbour residual (Eq. 1) that a tenth of the pixels of open faces exceed, by cell of (v, u).
    """

    light_mean: Float[Tensor, " 27"]
    light_whitening: Float[Tensor, "27 27"]
    residuals: Float[Tensor, "C C"]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "AppearancePrior":
        """Build the prior from its tensors by name.

        Raises:
            ValueError: a tensor is missing, or has another shape or values that are not finite or positive.
        """
        shapes = {"light_mean": (_N_LIGHT,), "light_whitening": (_N_LIGHT, _N_LIGHT), "residuals": (CELLS, CELLS)}
        if tensors.keys() != shapes.keys():
            raise ValueError(f"it has {', '.join(sorted(tensors))}; expected {', '.join(sorted(shapes))}")
        for name, shape in shapes.items():
            if tuple(tensors[name].shape) != shape or not bool(tensors[name].isfinite().all()):
                raise ValueError(f"{name} is not a finite array of shape {list(shape)}")
        if not bool((tensors["residuals"] > 0).all()):
            raise ValueError("a residual is not positive")
        return cls(**{name: tensors[name].float() for name in shapes})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, like: Tensor) -> "AppearancePrior":
        """Return the prior on the device and in the type of a tensor."""
        return AppearancePrior(**{name: tensor.to(like) for name, tensor in self.tensors().items()})

    def expected_residual(self, face_model: MorphableModel, rendering: Rendering) -> Float[Tensor, "B 1 H W"]:
        """Return the residual at each rendered pixel that a tenth of the pixels of open faces exceed there.

        Args:
            face_model: face model of the rendering.
            rendering: tells which part of the face each pixel shows.

        Returns:
            Distances of colours; where nothing is rendered, the value is meaningless.
        """
        return self.residuals.flatten()[pixel_cells(face_model, rendering.triangle_ids)][:, None]


def pixel_cells(
    face_model: MorphableModel, triangle_ids: Int[Tensor, "B H W"], cells: int = CELLS
) -> Int[Tensor, "B H W"]:
    """Return for each pixel the cell of the grid that the middle of its triangle lies in; -1 counts as triangle 0.

    Args:
        face_model: gives the texture coordinates.
        triangle_ids: triangle of each pixel.
        cells: rows and columns of the grid.
    """
    middle = face_model.uv[face_model.faces].mean(dim=1)
    column, row = (middle * cells).long().clamp(0, cells - 1).unbind(dim=1)
    return (row * cells + column)[triangle_ids.clamp_min(0)]


def light_distance(light: Float[Tensor, "B 27"], mean: Float[Tensor, "B 27"], whitening: Tensor) -> Float[Tensor, " B"]:
    """Compute the squared Mahalanobis distance of the light from a mean.

    Args:
        light: R9|G9|B9.
        mean: expected light of each image.
        whitening: [27, 27], of the prior.

    Returns:
        Distance of each image, in squared standard deviations.
    """
    # Not a matrix product: its bits would depend on the size of the batch.
    return ((light - mean)[:, :, None] * whitening).sum(dim=1).square().sum(dim=1)


def learn_light(
    thetas: Float[Tensor, "N 257"],
    gain: Float[Tensor, " 3"],
    harmonics: Float[Tensor, " 9"],
    tone_share: float,
) -> tuple[Float[Tensor, " 27"], Float[Tensor, "27 27"]]:
    """Learn the prior of the light from fits of open faces.

    A photograph does not tell skin tone from the brightness and colour of the light. The prior decides: the light of
    the skin, L_c = sum_k harmonics[k] light[9 c + k], varies by `tone_share` of what the fits show, so that the albedo
    explains the rest. Given L, the light varies as in the fits: with B the matrix of L,

        C' = C - (1 - tone_share^2) C B^T (B C B^T)^-1 B C

    Args:
        thetas: parameters of the fits.
        gain: factor on the mean light of each channel.
        harmonics: mean Y_k of the skin that is seen.
        tone_share: share of the standard deviation of L that is kept.

    Returns:
        Mean and whitening matrix.
    """
    light = split_theta(thetas).light.double()
    mean = light.mean(dim=0)
    covariance = torch.cov(light.T)
    of_skin = torch.block_diag(*[harmonics.double()[None]] * CHANNELS)
    shared = covariance @ of_skin.T
    covariance = covariance - (1 - tone_share**2) * shared @ torch.linalg.solve(of_skin @ shared, shared.T)
    covariance = covariance + _LIGHT_FLOOR**2 * torch.eye(_N_LIGHT)
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).contiguous()
    scaled = (mean.reshape(CHANNELS, SH_BANDS) * gain.double()[:, None]).flatten()
    return scaled.float(), whitening.float()


def learn_residuals(
    face_model: MorphableModel, images: Float[Tensor, "N 3 H W"], rendering: Rendering
) -> Float[Tensor, "C C"]:
    """Learn from fits of open faces which residuals are usual in which part of the face.

    Args:
        face_model: face model of the rendering.
        images: RGB in [0, 1].
        rendering: fits of the images.

    Returns:
        The quantile .9 of the neighbour residual by cell, symmetrical, smoothed; cells without pixels have the median.
    """
    inside = rendering.triangle_ids >= 0
    values = neighbor_residual(images, rendering.image)[:, 0][inside]
    cells = pixel_cells(face_model, rendering.triangle_ids)[inside]
    grid = torch.full((CELLS * CELLS,), torch.nan)
    for cell in cells.unique().tolist():
        of_cell = values[cells == cell]
        if len(of_cell) >= _LEAST_SAMPLES:
            grid[cell] = of_cell.kthvalue(max(1, round(_RESIDUAL_QUANTILE * len(of_cell)))).values
    square = grid.reshape(CELLS, CELLS)
    square = torch.stack((square, square.flip(1))).nanmean(dim=0)
    square = square.nan_to_num(nan=float(square.nanmedian()))
    padded = functional.pad(square[None, None], (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(padded, 3, stride=1)[0, 0]
