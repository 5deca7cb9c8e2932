"""Lambertian-like shading with nine spherical harmonics per colour channel; the light is fixed to camera space."""

from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.parameters import CHANNELS, SH_BANDS
from focus_ray.numerics.float32 import full_precision_matmul

_C0 = sqrt(1 / (4 * pi))
_C1 = sqrt(3 / (4 * pi))
_C2 = sqrt(15 / (4 * pi))
_C20 = sqrt(5 / (16 * pi))
_C22 = sqrt(15 / (16 * pi))


# Y_k as a polynomial: one row for each monomial, one column for each harmonic.
# fmt: off
_TABLE = (
    # Y00   Y1-1   Y10   Y11   Y2-2  Y2-1   Y20        Y21    Y22
    (_C0,   0.0,   0.0,  0.0,  0.0,  0.0,   -_C20,     0.0,   0.0),   # 1
    (0.0,   0.0,   0.0,  -_C1, 0.0,  0.0,   0.0,       0.0,   0.0),   # x
    (0.0,   -_C1,  0.0,  0.0,  0.0,  0.0,   0.0,       0.0,   0.0),   # y
    (0.0,   0.0,   _C1,  0.0,  0.0,  0.0,   0.0,       0.0,   0.0),   # z
    (0.0,   0.0,   0.0,  0.0,  _C2,  0.0,   0.0,       0.0,   0.0),   # xy
    (0.0,   0.0,   0.0,  0.0,  0.0,  -_C2,  0.0,       0.0,   0.0),   # yz
    (0.0,   0.0,   0.0,  0.0,  0.0,  0.0,   0.0,       -_C2,  0.0),   # zx
    (0.0,   0.0,   0.0,  0.0,  0.0,  0.0,   0.0,       0.0,   _C22),  # xx
    (0.0,   0.0,   0.0,  0.0,  0.0,  0.0,   0.0,       0.0,   -_C22), # yy
    (0.0,   0.0,   0.0,  0.0,  0.0,  0.0,   3 * _C20,  0.0,   0.0),   # zz
)
# fmt: on


def spherical_harmonics(normals: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 9"]:
    """Compute the real harmonics of bands l = 0..2, order m = -l..l, Condon-Shortley phase included.

    This is the polynomial form of the released code's table: no acos, so the gradient is finite everywhere.

    Args:
        normals: unit vectors, camera axes.

    Returns:
        Y_k of each vertex.
    """
    return full_precision_matmul(_monomials(normals), normals.new_tensor(_TABLE))


def shade(
    albedo: Float[Tensor, "B V 3"], normals: Float[Tensor, "B V 3"], light: Float[Tensor, "B 27"]
) -> Float[Tensor, "B V 3"]:
    """Compute the vertex colours A * L with L_c = sum_k light[9 c + k] Y_k(n).

    Args:
        albedo: RGB A of the vertices.
        normals: unit vectors, camera axes.
        light: R9|G9|B9.

    Returns:
        RGB, not clamped.
    """
    # light times table first: three numbers per monomial instead of nine harmonics per vertex
    return albedo * full_precision_matmul(_monomials(normals), light_polynomials(light))


def light_polynomials(light: Float[Tensor, "B 27"]) -> Float[Tensor, "B 10 3"]:
    """Compute the light of each channel as a polynomial of the normal.

    Args:
        light: R9|G9|B9.

    Returns:
        Coefficients of the monomials 1 | x y z | xy yz zx | xx yy zz.
    """
    table = light.new_tensor(_TABLE)
    return full_precision_matmul(table, light.view(-1, CHANNELS, SH_BANDS).transpose(1, 2))


def _monomials(normals: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 10"]:
    """Compute the monomials 1 | x y z | xy yz zx | xx yy zz."""
    ones = torch.ones_like(normals[..., :1])
    return torch.cat((ones, normals, normals * normals.roll(-1, dims=-1), normals * normals), dim=-1)
