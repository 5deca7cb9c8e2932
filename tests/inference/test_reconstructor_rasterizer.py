"""The rasterizer of a fit by the settings of the reconstruction."""

from copy import deepcopy

import pytest
import torch

from focus_ray.errors import ConfigError
from focus_ray.inference.reconstructor import ReconstructionSettings, Reconstructor
from tests.pytorch3d import needs_pytorch3d, without_pytorch3d


def fit(reconstructor, name, picture):
    settings = ReconstructionSettings(rasterizer=name)
    mine = Reconstructor(deepcopy(reconstructor.model), reconstructor.detector, settings)
    assert mine.model.focus.renderer.backend == name
    ((face, _),) = mine.reconstruct(picture, refine=1)
    return torch.tensor(face.theta.identity + face.theta.expression + face.theta.camera)


def test_a_fit_draws_with_the_rasterizer_that_the_settings_name(reconstructor, portrait):
    by_numba, by_torch = (fit(reconstructor, name, portrait) for name in ("numba", "torch"))
    torch.testing.assert_close(by_torch, by_numba, rtol=1e-3, atol=1e-4)


@without_pytorch3d
def test_a_rasterizer_that_is_not_installed_is_a_clear_error(reconstructor, portrait):
    with pytest.raises(ConfigError, match=r"docs/rasterizers\.md"):
        fit(reconstructor, "pytorch3d", portrait)


@needs_pytorch3d
def test_a_fit_with_pytorch3d_is_that_of_numba(reconstructor, portrait):
    by_numba, by_pytorch3d = (fit(reconstructor, name, portrait) for name in ("numba", "pytorch3d"))
    torch.testing.assert_close(by_pytorch3d, by_numba, rtol=1e-2, atol=1e-3)
