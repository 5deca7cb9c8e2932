"""Spherical harmonics: the known table, orthonormality, and the initial ambient light of the released code."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.focus.parameters import ParameterScales, split_theta
from focus_ray.focus.render.shading import shade, spherical_harmonics

DOUBLE = torch.float64


@given(st.floats(0, math.pi), st.floats(-math.pi, math.pi))
def test_table_for_unit_normals(polar, azimuth):
    x = math.sin(polar) * math.cos(azimuth)
    y = math.sin(polar) * math.sin(azimuth)
    z = math.cos(polar)
    expected = [
        0.282095,
        -0.488603 * y,
        0.488603 * z,
        -0.488603 * x,
        1.092548 * x * y,
        -1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        -1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ]
    found = spherical_harmonics(torch.tensor([[[x, y, z]]], dtype=DOUBLE))[0, 0]
    assert found.tolist() == pytest.approx(expected, abs=2e-6)


def test_the_nine_functions_are_orthonormal_on_the_sphere():
    directions = torch.nn.functional.normalize(torch.randn(1, 200_000, 3, dtype=DOUBLE), dim=-1)
    basis = spherical_harmonics(directions)[0]
    gram = 4 * math.pi * basis.T @ basis / len(basis)
    torch.testing.assert_close(gram, torch.eye(9, dtype=DOUBLE), rtol=0, atol=0.02)


def test_initial_ambient_light():
    light = split_theta(ParameterScales().vectors()[0][None]).light
    normals = torch.nn.functional.normalize(torch.randn(1, 50, 3), dim=-1)
    colours = shade(torch.ones(1, 50, 3), normals, light)
    torch.testing.assert_close(colours, torch.full_like(colours, 1.240718))


def test_channels_have_their_own_light():
    light = torch.zeros(1, 27)
    light[0, 9 + 2] = 1  # green, along z
    albedo = torch.tensor([[[0.5, 0.25, 0.5]]])
    colour = shade(albedo, torch.tensor([[[0.0, 0.0, -1.0]]]), light)
    assert colour[0, 0].tolist() == pytest.approx([0, -0.25 * 0.488603, 0], abs=1e-6)


def test_gradients_are_exact_and_finite_at_the_poles():
    poles = torch.tensor([[[0, 0, 1], [0, 0, -1], [1, 0, 0]]], dtype=DOUBLE, requires_grad=True)
    albedo = torch.rand(1, 3, 3, dtype=DOUBLE, requires_grad=True)
    light = torch.randn(1, 27, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(shade, (albedo, poles, light))
