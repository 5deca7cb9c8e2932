"""Vertex normals as compiled CPU kernels, with an analytic backward that saves nothing but its inputs."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from focus_ray.focus.render.numba_jit import as_numpy, jit, run_parallel


def vertex_normals(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], min_squared_norm: float
) -> Float[Tensor, "B V 3"]:
    """Compute vertex normals as `focus_ray.focus.render.normals` specifies; arguments are not checked.

    Args:
        vertices: mm.
        faces: vertex indices of the triangles.
        min_squared_norm: squared length, mm^4, up to which a sum of normals gives the normal 0.

    Returns:
        Unit normals, or 0.
    """
    return _VertexNormals.apply(vertices, faces, min_squared_norm)


class _VertexNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor, min_squared_norm: float) -> Tensor:
        ctx.save_for_backward(vertices, faces)
        ctx.no_direction = min_squared_norm
        normals = torch.empty(vertices.shape, dtype=vertices.dtype)
        run_parallel(_normals, len(vertices), as_numpy(vertices), as_numpy(faces), min_squared_norm, normals.numpy())
        return normals

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, normal_gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        vertices, faces = ctx.saved_tensors
        gradient = torch.empty(vertices.shape, dtype=vertices.dtype)
        arrays = (as_numpy(vertices), as_numpy(faces), ctx.no_direction, as_numpy(normal_gradient), gradient.numpy())
        run_parallel(_normals_backward, len(vertices), *arrays)
        return gradient, None, None


@jit
def _triangle_edges(vertices, image, faces, face):
    """The triangle's vertices and its sides v1 - v0 and v2 - v0, in double."""
    # unsigned: an index that cannot be negative is read without a wrap-around
    i, j, k = np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])
    x, y, z = np.float64(vertices[image, i, 0]), np.float64(vertices[image, i, 1]), np.float64(vertices[image, i, 2])
    ax, ay, az = vertices[image, j, 0] - x, vertices[image, j, 1] - y, vertices[image, j, 2] - z
    bx, by, bz = vertices[image, k, 0] - x, vertices[image, k, 1] - y, vertices[image, k, 2] - z
    return i, j, k, ax, ay, az, bx, by, bz


@jit
def _add(total, vertex, x, y, z):
    total[vertex, 0] += x
    total[vertex, 1] += y
    total[vertex, 2] += z


@jit
def _sum_around_vertices(vertices, image, faces, total):
    """total[v] = sum of (v1 - v0) x (v2 - v0) over the triangles around v."""
    total[:] = 0.0
    for face in range(np.uintp(faces.shape[0])):
        i, j, k, ax, ay, az, bx, by, bz = _triangle_edges(vertices, image, faces, face)
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        _add(total, i, nx, ny, nz)
        _add(total, j, nx, ny, nz)
        _add(total, k, nx, ny, nz)


@jit
def _unit(total, vertex, min_squared_norm):
    """The direction of a vertex's sum, and one over its length; zeros where it has no direction."""
    x, y, z = total[vertex, 0], total[vertex, 1], total[vertex, 2]
    squared = x * x + y * y + z * z
    scale = 1.0 / np.sqrt(squared) if squared > min_squared_norm else 0.0
    return x * scale, y * scale, z * scale, scale


@jit
def _normals(first, last, vertices, faces, min_squared_norm, normals):
    total = np.empty((vertices.shape[1], 3))
    for image in range(np.uintp(first), np.uintp(last)):
        _sum_around_vertices(vertices, image, faces, total)
        for vertex in range(np.uintp(total.shape[0])):
            x, y, z, _ = _unit(total, vertex, min_squared_norm)
            normals[image, vertex, 0], normals[image, vertex, 1], normals[image, vertex, 2] = x, y, z


@jit
def _normals_backward(first, last, vertices, faces, min_squared_norm, normal_gradient, gradient):
    """With n = s / |s|: dL/ds = (g - n (n . g)) / |s|; with c = a x b: dL/da = b x dL/dc, dL/db = dL/dc x a."""
    total = np.empty((vertices.shape[1], 3))
    for image in range(np.uintp(first), np.uintp(last)):
        gradient[image] = 0.0
        _sum_around_vertices(vertices, image, faces, total)
        for vertex in range(np.uintp(total.shape[0])):
            x, y, z, scale = _unit(total, vertex, min_squared_norm)
            gx, gy, gz = (
                normal_gradient[image, vertex, 0],
                normal_gradient[image, vertex, 1],
                normal_gradient[image, vertex, 2],
            )
            along = x * gx + y * gy + z * gz
            total[vertex, 0] = (gx - x * along) * scale
            total[vertex, 1] = (gy - y * along) * scale
            total[vertex, 2] = (gz - z * along) * scale
        for face in range(np.uintp(faces.shape[0])):
            i, j, k, ax, ay, az, bx, by, bz = _triangle_edges(vertices, image, faces, face)
            gx = total[i, 0] + total[j, 0] + total[k, 0]
            gy = total[i, 1] + total[j, 1] + total[k, 1]
            gz = total[i, 2] + total[j, 2] + total[k, 2]
            to_ax, to_ay, to_az = by * gz - bz * gy, bz * gx - bx * gz, bx * gy - by * gx
            to_bx, to_by, to_bz = gy * az - gz * ay, gz * ax - gx * az, gx * ay - gy * ax
            _add(gradient[image], i, -to_ax - to_bx, -to_ay - to_by, -to_az - to_bz)
            _add(gradient[image], j, to_ax, to_ay, to_az)
            _add(gradient[image], k, to_bx, to_by, to_bz)
