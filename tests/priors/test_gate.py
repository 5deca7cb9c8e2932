"""The gate: a prior of the error that a model makes passes, a prior of nothing in particular does not."""

import copy
from typing import Any

import pytest
import torch

from focus_ray.data.synthetic import SyntheticConfig
from focus_ray.errors import ConfigError
from focus_ray.focus.misfit import READINGS
from focus_ray.model import Model
from focus_ray.prior import Prior
from focus_ray.priors.gate import run_gate, world_faces
from tests.test_prior import prior_of


@pytest.fixture(scope="module")
def faces(small_face):
    return world_faces(small_face, SyntheticConfig(), (120, 80, 120), 32)


@pytest.fixture(scope="module")
def mean_face(r_syn: Model) -> Model:
    """It says the mean face, always."""
    model = copy.deepcopy(r_syn)
    head: Any = model.focus.encoder.head
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return model


def with_error(model: Model, error: torch.Tensor) -> Prior:
    prior = prior_of(model)
    return Prior(dict.fromkeys(READINGS, error), prior.standard_errors, prior.info)


def test_the_gate_tells_help_from_harm(mean_face, faces, small_face):
    """A model that makes every face too long by its own bias."""
    bias = 6 * small_face.shape_basis[0]
    head: Any = mean_face.focus.encoder.head
    with torch.no_grad():
        head.bias[0] = 6.0 / mean_face.settings.scales.identity
    helps = run_gate(with_error(mean_face, bias), mean_face, faces, 60)
    assert helps.passes
    assert helps.gain_mm == pytest.approx(helps.vertex_before_mm - helps.vertex_after_mm)
    assert helps.improved_share > 0.9
    assert helps.faces == 60
    harms = run_gate(with_error(mean_face, -bias), mean_face, faces, 60)
    assert not harms.passes
    assert harms.gain_mm < 0
    nothing = run_gate(with_error(mean_face, torch.zeros_like(bias)), mean_face, faces, 60)
    assert nothing.gain_mm == 0
    assert not nothing.passes


def test_there_is_no_world_around_another_face(ellipsoid_face):
    with pytest.raises(ConfigError, match="there is no synthetic world for"):
        world_faces(ellipsoid_face, SyntheticConfig(), (120, 80, 120), 32)
