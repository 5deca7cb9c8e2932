"""Lambertian-like shading with nine spherical harmonics per colour channel; the light lives in camera space."""

from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.face.parameters import CHANNELS, SH_BANDS

_C0 = sqrt(1 / (4 * pi))
_C1 = sqrt(3 / (4 * pi))
_C2 = sqrt(15 / (4 * pi))
_C20 = sqrt(5 / (16 * pi))
_C22 = sqrt(15 / (16 * pi))


def spherical_harmonics(normals: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 9"]:
    """Real harmonics of bands l = 0..2, order m = -l..l, Condon-Shortley phase included, of unit vectors.

    The polynomial form of method.md section 3.2: no acos, so the gradient is finite everywhere.
    """
    x, y, z = normals.unbind(-1)
    basis = (
        torch.full_like(x, _C0),
        -_C1 * y,
        _C1 * z,
        -_C1 * x,
        _C2 * x * y,
        -_C2 * y * z,
        _C20 * (3 * z * z - 1),
        -_C2 * x * z,
        _C22 * (x * x - y * y),
    )
    return torch.stack(basis, dim=-1)


def shade(
    albedo: Float[Tensor, "B V 3"], normals: Float[Tensor, "B V 3"], light: Float[Tensor, "B 27"]
) -> Float[Tensor, "B V 3"]:
    """Vertex colours A * L, with L_c = sum_k light[9 c + k] Y_k(n); light is R9|G9|B9, nothing is clamped."""
    coefficients = light.view(-1, CHANNELS, SH_BANDS)
    return albedo * (spherical_harmonics(normals) @ coefficients.transpose(1, 2))
