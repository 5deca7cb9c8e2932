"""Interpolation: perspective-correct values, exact gradients against float64, the same bits every time."""

import inspect

import pytest
import torch

from focus_ray.focus.render import interpolate, rasterize

DOUBLE = torch.float64


def gradients(screen, attributes, faces, ids, weights, backend):
    leaves = screen.clone().requires_grad_(), attributes.clone().requires_grad_()
    image = interpolate(*leaves, faces, ids, backend=backend)
    image.backward(weights)
    return image.detach(), leaves[0].grad, leaves[1].grad


def max_relative(value, reference):
    return ((value.double() - reference).abs().max() / reference.abs().max()).item()


def test_interpolation_is_perspective_correct(backend):
    # Along an edge from depth 500 (value 0) to depth 1000 (value 1), the screen's middle lies at a third of the way.
    screen = torch.tensor([[[0.0, 0.0, 500.0], [8.0, 0.0, 1000.0], [0.0, 8.0, 500.0]]])
    faces = torch.tensor([[0, 1, 2]])
    ids = rasterize(screen, faces, 9, 9, backend=backend)
    values = torch.tensor([[[0.0], [1.0], [0.0]]])
    image = interpolate(screen, values, faces, ids, backend=backend)
    assert image[0, 0, 0, 4].item() == pytest.approx(1 / 3)
    assert image[0, 0, 0, 0].item() == 0
    assert image[0, 0, 0, 8].item() == pytest.approx(1)


def test_a_constant_attribute_fills_the_drawn_region_and_nothing_else(backend, disk):
    screen, attributes, faces = disk(2, 10, 24)
    ids = rasterize(screen, faces, 24, 24)
    image = interpolate(screen, torch.ones_like(attributes), faces, ids, backend=backend)
    torch.testing.assert_close(image, (ids >= 0).float()[:, None].expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


def test_float32_gradients_are_those_of_float64_autograd(backend, disk):
    screen, attributes, faces = disk(2, 60, 96)  # 7k triangles, many below a pixel
    ids = rasterize(screen, faces, 96, 96)
    weights = torch.randn(2, 3, 96, 96)
    reference = gradients(screen.double(), attributes.double(), faces, ids, weights.double(), "torch")
    found = gradients(screen, attributes, faces, ids, weights, backend)
    for value, expected in zip(found, reference, strict=True):
        assert max_relative(value, expected) < 1e-4


def test_gradients_of_large_triangles_are_those_of_float64_autograd(backend):
    screen = torch.tensor([[[-40.0, -30.0, 700.0], [150.0, 5.0, 1100.0], [20.0, 160.0, 900.0], [130.0, 140.0, 950.0]]])
    faces = torch.tensor([[0, 1, 2], [1, 3, 2]])
    ids = rasterize(screen, faces, 96, 96)
    weights, attributes = torch.randn(1, 5, 96, 96), torch.randn(1, 4, 5)
    reference = gradients(screen.double(), attributes.double(), faces, ids, weights.double(), "torch")
    for value, expected in zip(gradients(screen, attributes, faces, ids, weights, backend), reference, strict=True):
        assert max_relative(value, expected) < 1e-4


def test_gradcheck(backend, disk):
    screen, attributes, faces = disk(2, 4, 8, DOUBLE)
    screen[..., 2] /= 100  # depths of the order of the pixels, so that their gradients count
    ids = rasterize(screen, faces, 8, 8)
    assert (ids >= 0).sum() > 20

    def image(screen, attributes):
        return interpolate(screen, attributes, faces, ids, backend=backend)

    assert torch.autograd.gradcheck(image, (screen.requires_grad_(), attributes.requires_grad_()))


def test_only_the_asked_gradients_are_made(backend, disk):
    screen, attributes, faces = disk(1, 6, 12)
    ids = rasterize(screen, faces, 12, 12)
    interpolate(screen, attributes.requires_grad_(), faces, ids, backend=backend).sum().backward()
    assert attributes.grad is not None
    assert screen.grad is None


def test_the_same_bits_whatever_the_number_of_threads(disk):
    screen, attributes, faces = disk(5, 40, 64)
    weights = torch.randn(5, 3, 64, 64)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            ids = rasterize(screen, faces, 64, 64, backend="numba")
            results.append((ids, *gradients(screen, attributes, faces, ids, weights, "numba")))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(value, first) for value, first in zip(result, results[0], strict=True))


def test_strided_inputs_and_int32_ids(backend, disk):
    screen, attributes, faces = disk(2, 8, 16)
    ids = rasterize(screen, faces, 16, 16)
    plain = interpolate(screen, attributes, faces, ids, backend=backend)
    strided = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in (screen, attributes)]
    other = interpolate(*strided, faces.T.contiguous().T.int(), ids.int(), backend=backend)
    assert torch.equal(plain, other)


def test_triangles_that_collapsed_since_the_ids_were_made_give_zero(backend):
    screen = torch.zeros(1, 3, 3) + 2
    ids = torch.zeros(1, 4, 4, dtype=torch.int64)
    leaf = screen.clone().requires_grad_()
    image = interpolate(leaf, torch.ones(1, 3, 2), torch.tensor([[0, 1, 2]]), ids, backend=backend)
    image.sum().backward()
    assert image.eq(0).all()
    assert leaf.grad is not None
    assert leaf.grad.eq(0).all()


@pytest.mark.parametrize(
    ("attributes", "ids", "message"),
    [
        (torch.rand(1, 5, 3), torch.zeros(1, 8, 8, dtype=torch.int64), r"\[1, 4, D\]"),
        (torch.rand(1, 4, 3, dtype=DOUBLE), torch.zeros(1, 8, 8, dtype=torch.int64), "differ in type"),
        (torch.rand(1, 4, 3), torch.zeros(2, 8, 8, dtype=torch.int64), r"\[1, H, W\]"),
        (torch.rand(1, 4, 3), torch.zeros(1, 8, 8), "int64"),
        (torch.rand(1, 4, 3), torch.full((1, 8, 8), 1), r"outside -1\.\.0"),
        (torch.rand(1, 4, 3), torch.full((1, 8, 8), -2), r"outside -1\.\.0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(backend, attributes, ids, message):
    faces = torch.tensor([[0, 1, 2]])
    with pytest.raises((TypeError, ValueError), match=message):
        inspect.unwrap(interpolate)(torch.rand(1, 4, 3), attributes, faces, ids, backend=backend)
