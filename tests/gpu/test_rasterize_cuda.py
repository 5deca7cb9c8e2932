"""The torch back end on CUDA against the same on the CPU."""

import pytest
import torch

from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import N_PARAMETERS, ParameterScales
from focus_ray.focus.render import Renderer, interpolate, rasterize
from tests.ellipsoid_face import ellipsoid_face

pytestmark = pytest.mark.gpu


def tangle():
    screen = torch.rand(2, 60, 3) * torch.tensor([50.0, 40.0, 500.0]) + torch.tensor([-9.0, -9.0, 600.0])
    return screen, torch.rand(2, 60, 3), torch.randint(60, (80, 3))


def test_ids_are_the_same_on_both_devices():
    screen, _, faces = tangle()
    here = rasterize(screen, faces, 30, 32)
    there = rasterize(screen.cuda(), faces.cuda(), 30, 32)
    assert torch.equal(here, there.cpu())


def test_gradients_agree():
    screen, attributes, faces = tangle()
    ids = rasterize(screen, faces, 30, 32)
    weights = torch.randn(2, 3, 30, 32)
    gradients = []
    for device in ("cpu", "cuda"):
        leaves = [tensor.to(device, copy=True).requires_grad_() for tensor in (screen, attributes)]
        interpolate(*leaves, faces.to(device), ids.to(device), backend="torch").backward(weights.to(device))
        gradients.append([leaf.grad for leaf in leaves])
    for here, there in zip(*gradients, strict=True):
        assert (here - there.cpu()).abs().max() < 1e-4 * here.abs().max()


def test_the_renderer_runs_on_cuda():
    offset, scale = ParameterScales().vectors()
    theta = offset + scale * torch.randn(2, N_PARAMETERS) / 2
    here = Renderer(ellipsoid_face(), Camera(image_size=64))(theta)
    leaf = theta.cuda().requires_grad_()
    there = Renderer(ellipsoid_face().cuda(), Camera(image_size=64))(leaf)
    # vertices differ by rounding between the devices, so a centre beside an edge may see its neighbour
    assert (here.triangle_ids == there.triangle_ids.cpu()).float().mean() > 0.99
    torch.testing.assert_close(here.landmarks, there.landmarks.cpu(), rtol=0, atol=1e-2)
    there.image.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
