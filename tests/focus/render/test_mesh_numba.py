"""The compiled renderer against the separate ops: the same ids and positions, gradients of every input and output."""

import copy

import pytest
import torch

from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import N_PARAMETERS, ParameterScales, split_theta
from focus_ray.focus.render import Renderer
from focus_ray.focus.render.renderer import Rendering

SIZE = 40
OUTPUTS = ("image", "depth", "landmarks", "vertices", "vertices_screen")


def coefficients(batch: int, scale: float = 0.5) -> torch.Tensor:
    offset, scales = ParameterScales().vectors()
    theta = scale * scales * torch.randn(batch, N_PARAMETERS)
    split_theta(theta).light.mul_(0.3)
    return offset + theta


def renderers(face, **options) -> dict[str, Renderer]:
    """The compiled renderer, and the one of separate ops."""
    return {name: Renderer(face, Camera(image_size=SIZE), name, **options) for name in ("numba", "torch")}


@pytest.mark.parametrize("cull_back", [True, False])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_ids_and_positions_have_the_bits_of_the_separate_ops(small_face, cull_back, scale):
    theta = coefficients(5, scale)
    compiled, separate = (render(theta) for render in renderers(small_face, cull_back=cull_back).values())
    assert torch.equal(compiled.vertices_screen, separate.vertices_screen)
    assert torch.equal(compiled.triangle_ids, separate.triangle_ids)
    assert (compiled.triangle_ids >= 0).float().mean() > 0.2
    torch.testing.assert_close(compiled.image, separate.image, rtol=0, atol=1e-5)
    torch.testing.assert_close(compiled.depth, separate.depth, rtol=1e-6, atol=0)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_has_the_gradient_of_double_precision(ellipsoid_face, output):
    theta = coefficients(2)
    gradients = []
    for dtype, backend in ((torch.float32, "numba"), (torch.float64, "torch")):
        face = copy.deepcopy(ellipsoid_face).to(dtype)
        leaf = theta.to(dtype).requires_grad_()
        rendering = Renderer(face, Camera(image_size=SIZE), backend)(leaf)
        value: torch.Tensor = getattr(rendering, output)
        torch.manual_seed(2)
        weights = torch.randn(value.shape, dtype=torch.float64).to(dtype)
        (gradient,) = torch.autograd.grad((value * weights).sum(), leaf)
        gradients.append(gradient.double())
    compiled, expected = gradients
    assert (compiled - expected).abs().max() < 1e-4 * expected.abs().max()


def test_outputs_without_a_loss_cost_no_gradient_and_change_nothing(ellipsoid_face):
    theta = coefficients(2).requires_grad_()
    rendering: Rendering = Renderer(ellipsoid_face, Camera(image_size=SIZE), "numba")(theta)
    (alone,) = torch.autograd.grad(rendering.image.square().sum(), theta, retain_graph=True)
    (both,) = torch.autograd.grad(rendering.image.square().sum() + 0 * rendering.depth.sum(), theta)
    torch.testing.assert_close(alone, both, rtol=1e-5, atol=1e-6)
    assert not rendering.mask.requires_grad


def test_the_same_bits_for_any_number_of_threads(ellipsoid_face):
    theta, threads = coefficients(5), torch.get_num_threads()
    results = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            leaf = theta.clone().requires_grad_()
            rendering = Renderer(ellipsoid_face, Camera(image_size=SIZE), "numba").render(
                ellipsoid_face.mean.expand(5, -1, -1) + leaf[:, :3].reshape(5, 1, 3),
                ellipsoid_face.mean_albedo.expand(5, -1, -1),
                *split_theta(leaf)[3:],
            )
            (gradient,) = torch.autograd.grad(rendering.image.square().sum(), leaf)
            results.append((rendering.image.detach(), rendering.triangle_ids, gradient))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, many) for one, many in zip(*results, strict=True))


def test_a_mesh_that_is_not_the_models_is_refused(ellipsoid_face):
    render = Renderer(ellipsoid_face, Camera(image_size=SIZE), "numba")
    few = torch.zeros(1, 7, 3)
    with pytest.raises(ValueError, match="do not fit the face model"):
        render.render(few, few, torch.zeros(1, 27), torch.zeros(1, 3), torch.zeros(1, 3))
