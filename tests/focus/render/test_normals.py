"""Vertex normals: known directions, area weights, gradients, and the compiled kernels against plain torch."""

import inspect

import pytest
import torch

from focus_ray.focus.render.normals import vertex_normals


def test_a_flat_square_looks_along_z(backend):
    square = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]])
    normals = vertex_normals(square, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert torch.equal(normals, torch.tensor([0.0, 0, 1]).expand(1, 4, 3))


def test_normals_are_weighted_by_area(backend):
    # At the shared corner: a triangle of area 2 that looks along z and one of area 1/2 that looks along x.
    vertices = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 0, 1]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]]))
    expected = torch.nn.functional.normalize(torch.tensor([1.0, 0.0, 4.0]), dim=0)
    torch.testing.assert_close(normals[0, 0], expected)


def test_a_sphere_has_radial_normals(backend, ellipsoid_face):
    sphere = torch.nn.functional.normalize(ellipsoid_face.mean * torch.tensor([1.0, 0.8, 1.0]) + 100, dim=1)[None]
    normals = vertex_normals(sphere, ellipsoid_face.faces)
    lengths = normals.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_the_ellipsoid_face_looks_out_of_its_surface(backend, ellipsoid_face):
    assert (vertex_normals(ellipsoid_face.mean[None], ellipsoid_face.faces)[..., 2] > 0).float().mean() > 0.95


def test_a_vertex_without_area_around_it_has_no_normal_and_no_gradient(backend):
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]]], requires_grad=True)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    normals.sum().backward()
    assert normals.eq(0).all()
    assert vertices.grad is not None
    assert vertices.grad.eq(0).all()


def test_gradcheck(backend):
    vertices = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [2, 3, 0], [3, 4, 5], [5, 4, 0]])
    assert torch.autograd.gradcheck(lambda x: vertex_normals(x, faces), vertices)


def test_float32_equals_float64_torch(ellipsoid_face):
    vertices = ellipsoid_face.vertices(torch.randn(3, 144))
    weights = torch.randn_like(vertices)
    single, double = vertices.clone().requires_grad_(), vertices.double().requires_grad_()
    found = vertex_normals(single, ellipsoid_face.faces)
    expected = vertex_normals(double, ellipsoid_face.faces)
    found.backward(weights)
    expected.backward(weights.double())
    assert single.grad is not None
    assert double.grad is not None
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    assert (single.grad.double() - double.grad).abs().max() < 1e-6 * double.grad.abs().max()


def test_faces_outside_the_vertices_are_refused(backend):
    with pytest.raises(ValueError, match="outside"):
        inspect.unwrap(vertex_normals)(torch.rand(1, 3, 3), torch.tensor([[0, 1, 3]]))
