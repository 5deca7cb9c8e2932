"""The table of theta in R^257: the order of the coefficients, and the scaling of a network's output to them.

Order (paper, section 3.1): alpha (identity, expression), gamma (albedo), phi (light), c (rotation, translation).
"""

from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import field_validator
from torch import Tensor

from focus_ray.settings import Settings

CHANNELS = 3
SH_BANDS = 9


class ParameterGroup(NamedTuple):
    """One row of the table: a run of consecutive coefficients."""

    name: str
    symbol: str
    size: int
    unit: str


PARAMETER_GROUPS = (
    ParameterGroup("identity", "alpha", 80, "sigma"),
    ParameterGroup("expression", "delta", 64, "sigma"),
    ParameterGroup("albedo", "gamma", 80, "sigma"),
    ParameterGroup("light", "phi", CHANNELS * SH_BANDS, "1"),
    ParameterGroup("rotation", "r", 3, "rad"),
    ParameterGroup("translation", "t", 3, "mm"),
)
N_PARAMETERS = sum(group.size for group in PARAMETER_GROUPS)
THETA_MODES = (80, 64, 80)
"""Identity, expression and albedo modes that a fitted face has: the first three groups."""


class Parameters(NamedTuple):
    """The parts of theta by name: coefficients in sigmas, light as R9|G9|B9, rotation in rad, translation in mm."""

    identity: Float[Tensor, "B 80"]
    expression: Float[Tensor, "B 64"]
    albedo: Float[Tensor, "B 80"]
    light: Float[Tensor, "B 27"]
    rotation: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]

    @property
    def alpha(self) -> Float[Tensor, "B 144"]:
        """The paper's alpha, identity and expression together: the argument of MorphableModel.vertices."""
        return torch.cat((self.identity, self.expression), dim=1)


def split_theta(theta: Float[Tensor, "B 257"]) -> Parameters:
    """Split theta into its parts.

    Args:
        theta: coefficients in the order of `PARAMETER_GROUPS`.

    Returns:
        Views of theta by name.
    """
    return Parameters(*theta.split([group.size for group in PARAMETER_GROUPS], dim=1))


def join_theta(parameters: Parameters) -> Float[Tensor, "B 257"]:
    """Join the parts to theta; the inverse of `split_theta`.

    Args:
        parameters: the parts by name.

    Returns:
        A new theta.
    """
    return torch.cat(tuple(parameters), dim=1)


# Initial ambient light 0.7 * 2 pi at band 0 of each channel: L = 0.282095 * 4.39823 = 1.24072 (released code).
_AMBIENT = tuple(0.7 * 2 * pi if band == 0 else 0.0 for _ in range(CHANNELS) for band in range(SH_BANDS))


class ParameterScales(Settings):
    """theta = offset + scale * head output, so that a zero head is the mean face, frontal, under ambient light.

    Values of the authors' released code. Its translation_z nearly fixes the depth, which at this focal length is hard
    to distinguish from the size of the face: this is right only for faces that are all at the same depth. The presets
    scale t_z by the spread of the depths that they draw.
    """

    identity: float = 1.0
    expression: float = 1.0
    albedo: float = 3.0
    light: float = 1.0
    rotation: float = 0.3
    translation_xy: float = 1.0
    translation_z: float = 0.005
    light_offset: tuple[float, ...] = _AMBIENT

    @field_validator("light_offset")
    @classmethod
    def _check_light_offset(cls, light_offset: tuple[float, ...]) -> tuple[float, ...]:
        if len(light_offset) != CHANNELS * SH_BANDS:
            raise ValueError(f"has {len(light_offset)} numbers; give {CHANNELS * SH_BANDS} (R9|G9|B9)")
        return light_offset

    def vectors(self) -> tuple[Float[Tensor, " 257"], Float[Tensor, " 257"]]:
        """Return offset and scale as vectors.

        Returns:
            (offset, scale), float32, in the order of theta.
        """
        offset = torch.zeros(1, N_PARAMETERS)
        split_theta(offset).light.copy_(torch.tensor(self.light_offset))
        scale = torch.ones(1, N_PARAMETERS)
        parts = split_theta(scale)
        for name in ("identity", "expression", "albedo", "light", "rotation"):
            getattr(parts, name).fill_(getattr(self, name))
        parts.translation[:, :2] = self.translation_xy
        parts.translation[:, 2] = self.translation_z
        return offset[0], scale[0]
