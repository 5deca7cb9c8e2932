"""Choosing a back end by name."""

import pytest
import torch

from focus_ray.errors import ConfigError
from focus_ray.focus.render import rasterize
from focus_ray.focus.render.backends import BACKENDS, resolve_backend


def test_auto_is_numba_where_it_works_and_torch_elsewhere():
    assert resolve_backend("auto", torch.zeros(1)) == "numba"
    assert resolve_backend("auto", torch.zeros(1, dtype=torch.float64)) == "numba"
    assert resolve_backend("auto", torch.zeros(1, dtype=torch.bfloat16)) == "torch"
    assert resolve_backend("auto", torch.zeros(1, device="meta")) == "torch"


def test_a_back_end_can_be_named():
    assert [resolve_backend(name, torch.zeros(1)) for name in BACKENDS[1:]] == ["numba", "torch", "pytorch3d"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'opengl'.*auto, numba, torch, pytorch3d"):
        rasterize(torch.rand(1, 3, 3), torch.tensor([[0, 1, 2]]), 4, 4, backend="opengl")


def test_numba_says_what_it_cannot_do():
    with pytest.raises(ConfigError, match=r"bfloat16.*use torch"):
        resolve_backend("numba", torch.zeros(1, dtype=torch.bfloat16))
