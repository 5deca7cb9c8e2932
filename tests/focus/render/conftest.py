"""Meshes on the screen that the rasterizer's tests share, and a rasterizer too simple to be wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor


def bumpy_disk(batch: int, side: int, size: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """(vertices_screen [B,V,3], attributes [B,V,3], faces [F,3]): a bumpy disk that fills most of the image."""
    row, column = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    x, y = column * (1 - row**2 / 2).sqrt(), row * (1 - column**2 / 2).sqrt()
    plane = torch.stack((x, y), dim=-1).reshape(1, -1, 2) + torch.randn(batch, side * side, 2) / (5 * side)
    depth = 1000 - 80 * (1.3 - plane.square().sum(-1, keepdim=True)) + 5 * torch.randn(batch, side * side, 1)
    screen = torch.cat(((plane * 0.45 + 0.5) * size, depth), dim=-1)
    ids = torch.arange(side * side).view(side, side)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
    faces = torch.stack((torch.stack((a, c, b), -1), torch.stack((b, c, d), -1))).reshape(-1, 3)
    return screen.to(dtype), torch.rand(batch, side * side, 3).to(dtype), faces


def brute_force(screen: Tensor, faces: Tensor, height: int, width: int, cull_back: bool = False) -> Tensor:
    """Every pixel centre against every triangle, in float64, one image after the other."""
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1).astype(np.float64)
    images = []
    for vertices in screen.double().numpy():
        (u0, v0, z0), (u1, v1, z1), (u2, v2, z2) = vertices[faces.numpy()].transpose(1, 2, 0)
        with np.errstate(all="ignore"):
            e0 = (u1 - x) * (v2 - y) - (v1 - y) * (u2 - x)
            e1 = (u2 - x) * (v0 - y) - (v2 - y) * (u0 - x)
            e2 = (u0 - x) * (v1 - y) - (v0 - y) * (u1 - x)
            inverse_depth = (e0 / z0 + e1 / z1 + e2 / z2) / (e0 + e1 + e2)
        inside = (e0 <= 0) & (e1 <= 0) & (e2 <= 0)
        if not cull_back:
            inside |= (e0 >= 0) & (e1 >= 0) & (e2 >= 0)
        drawable = np.isfinite(vertices[faces.numpy()]).all((1, 2)) & (z0 > 0) & (z1 > 0) & (z2 > 0)
        inside &= drawable & (e0 + e1 + e2 != 0)
        # depths that agree to rounding are a tie, and the lower id wins it
        score = np.where(inside, inverse_depth, -1.0)
        best = score.max(axis=1, keepdims=True)
        first = (score >= best * (1 - 1e-13)).argmax(axis=1)
        images.append(np.where(best[:, 0] > 0, first, -1).reshape(height, width))
    return torch.from_numpy(np.stack(images))


@pytest.fixture(params=["numba", "torch"])
def backend(request) -> str:
    """Each back end that runs everywhere."""
    return request.param


@pytest.fixture
def disk():
    """The builder of bumpy disks."""
    return bumpy_disk


@pytest.fixture
def by_brute_force():
    """The rasterizer too simple to be wrong."""
    return brute_force
