"""The rasterizer of a run by its configuration."""

import pytest
import torch

from focus_ray.config import override
from focus_ray.errors import ConfigError
from focus_ray.runtime.callbacks import Callback
from focus_ray.training.in_process import train
from focus_ray.training.run import Trainer
from tests.pytorch3d import needs_pytorch3d, without_pytorch3d

pytestmark = pytest.mark.usefixtures("ellipsoid_world")


def rasterizer_of(config, face, name: str) -> str:
    run = Trainer(override(config, {"rasterizer": name}, "test"), face, None, Callback())
    return run.state.focus.renderer.backend


def test_a_run_draws_with_the_rasterizer_that_it_names(config, ellipsoid_face):
    assert config.rasterizer == "auto"
    assert rasterizer_of(config, ellipsoid_face, "torch") == "torch"
    with pytest.raises(ConfigError, match="rasterizer"):
        rasterizer_of(config, ellipsoid_face, "opengl")


@without_pytorch3d
def test_a_rasterizer_that_is_not_installed_is_an_error_before_the_first_step(config, ellipsoid_face):
    with pytest.raises(ConfigError, match=r"docs/rasterizers\.md"):
        rasterizer_of(config, ellipsoid_face, "pytorch3d")


@needs_pytorch3d
def test_a_run_with_pytorch3d_trains_what_numba_trains(config, tmp_path):
    losses = {}
    for name in ("numba", "pytorch3d"):
        run = tmp_path / name
        metrics = train(override(config, {"rasterizer": name}, "test"), run)
        assert metrics["steps"] == config.schedule.total_steps
        losses[name] = torch.tensor([metrics["heldout"]["focus"]["all"][key] for key in ("landmark_px", "rmse_255")])
    torch.testing.assert_close(losses["pytorch3d"], losses["numba"], rtol=0.05, atol=0)
