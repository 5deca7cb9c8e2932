"""theta: order, sizes, split and join, and the scales of the head."""

from math import pi

import pytest
import torch

from focus_ray.focus.parameters import (
    N_PARAMETERS,
    PARAMETER_GROUPS,
    THETA_MODES,
    ParameterScales,
    join_theta,
    split_theta,
)


def test_table_is_the_papers():
    assert [(group.name, group.size) for group in PARAMETER_GROUPS] == [
        ("identity", 80),
        ("expression", 64),
        ("albedo", 80),
        ("light", 27),
        ("rotation", 3),
        ("translation", 3),
    ]
    assert N_PARAMETERS == 257


def test_split_keeps_order_and_join_inverts_it():
    theta = torch.arange(2 * N_PARAMETERS, dtype=torch.float64).reshape(2, N_PARAMETERS)
    parts = split_theta(theta)
    assert parts.identity[0, 0] == 0
    assert parts.expression[0, 0] == 80
    assert parts.albedo[0, 0] == 144
    assert parts.light[0, 0] == 224
    assert parts.rotation[0, 0] == 251
    assert parts.translation[0, -1] == 256
    assert torch.equal(parts.alpha, theta[:, :144])
    assert torch.equal(join_theta(parts), theta)


def test_split_is_differentiable():
    theta = torch.zeros(1, N_PARAMETERS, requires_grad=True)
    split_theta(theta).light.sum().backward()
    assert theta.grad is not None
    assert theta.grad.sum() == 27
    assert theta.grad[0, 224:251].eq(1).all()


def test_scales_of_the_released_code():
    offset, scale = ParameterScales().vectors()
    light = split_theta(offset[None]).light.reshape(3, 9)
    assert light[:, 0].tolist() == pytest.approx([0.7 * 2 * pi] * 3)
    assert light[:, 1:].eq(0).all()
    assert offset.sum().item() == pytest.approx(3 * 0.7 * 2 * pi)
    parts = split_theta(scale[None])
    assert parts.albedo.eq(3).all()
    assert parts.alpha.eq(1).all()
    assert parts.light.eq(1).all()
    assert parts.rotation[0].tolist() == pytest.approx([0.3] * 3)
    assert parts.translation[0].tolist() == pytest.approx([1, 1, 0.005])


def test_light_offset_of_another_length_is_refused():
    with pytest.raises(ValueError, match="27"):
        ParameterScales(light_offset=(1.0, 2.0))


def test_the_modes_of_a_fitted_face_are_the_first_groups():
    assert tuple(group.size for group in PARAMETER_GROUPS[:3]) == THETA_MODES
