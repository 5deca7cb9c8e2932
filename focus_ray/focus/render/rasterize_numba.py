"""The numba back end: z-buffer and interpolation on the CPU, with an analytic backward.

Positions and weights are in double for any input type: this costs nothing in scalar code, makes face ids those of exact
float64 brute force, and keeps gradients of sub-pixel triangles accurate.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from focus_ray.focus.render.numba_jit import as_numpy, jit, jit_with_fma, run_parallel
from focus_ray.focus.render.zbuffer_numba import edge_functions, rasterize_images


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """Rasterize with compiled CPU kernels, as `focus_ray.focus.render.rasterize` specifies; arguments are not checked.

    Args:
        vertices_screen: (u px, v px, z mm).
        faces: vertex indices of the triangles.
        height: px.
        width: px.
        cull_back: leave out triangles that wind clockwise on the screen.

    Returns:
        Id of the nearest triangle in each pixel, -1 where there is none.
    """
    batch = vertices_screen.shape[0]
    ids = torch.empty(batch, height, width, dtype=torch.int64)
    # int32 halves the memory to read; numpy copies it faster than torch
    corners = np.ascontiguousarray(faces.numpy().T, dtype=np.int32)
    run_parallel(rasterize_images, batch, as_numpy(vertices_screen), corners, cull_back, ids.numpy())
    return ids


def interpolate(
    vertices_screen: Float[Tensor, "B V 3"],
    attributes: Float[Tensor, "B V D"],
    faces: Int[Tensor, "F 3"],
    ids: Int[Tensor, "B H W"],
) -> Float[Tensor, "B D H W"]:
    """Interpolate with compiled CPU kernels, as `focus_ray.focus.render.interpolate` specifies; arguments not checked.

    Args:
        vertices_screen: (u px, v px, z mm).
        attributes: values of the vertices.
        faces: vertex indices of the triangles.
        ids: triangle of each pixel, -1 for none.

    Returns:
        Interpolated attributes, 0 on the background.
    """
    return _Interpolate.apply(vertices_screen, attributes, faces, ids)


class _Interpolate(torch.autograd.Function):
    """Saves nothing but its inputs; the backward recomputes each pixel's weights."""

    @staticmethod
    def forward(ctx: Any, vertices_screen: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(vertices_screen, attributes, faces, ids)
        batch, height, width = ids.shape
        image = attributes.new_empty(batch, attributes.shape[2], height, width)
        arrays = [as_numpy(tensor) for tensor in (vertices_screen, attributes, faces, ids)]
        run_parallel(_blend, batch, _channel_tuple(attributes), *arrays, image.numpy())
        return image

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, image_gradient: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        vertices_screen, attributes, *_ = ctx.saved_tensors
        # contiguous for any inputs: the kernels write through numpy views
        to_vertices = torch.empty(vertices_screen.shape, dtype=vertices_screen.dtype)
        to_attributes = torch.empty(attributes.shape, dtype=attributes.dtype)
        arrays = [as_numpy(tensor) for tensor in (*ctx.saved_tensors, image_gradient)]
        results = to_vertices.numpy(), to_attributes.numpy()
        run_parallel(_blend_backward, len(vertices_screen), _channel_tuple(attributes), *arrays, *results)
        return to_vertices, to_attributes, None, None


def _channel_tuple(attributes: Tensor) -> tuple[int, ...]:
    """The channels as a tuple: its length is part of its type, so that kernels are compiled with unrolled loops."""
    return tuple(range(attributes.shape[2]))


@jit
def _face_vertices(faces, face):
    """The three vertices of a triangle, unsigned: an index that cannot be negative is read without a wrap-around."""
    return np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])


@jit
def _relative_to_pixel(vertices, image, vertex, x, y):
    """(u, v) of a vertex relative to the pixel, and its depth, in double."""
    u, v, z = vertices[image, vertex, 0], vertices[image, vertex, 1], vertices[image, vertex, 2]
    return np.float64(u) - x, np.float64(v) - y, np.float64(z)


@jit_with_fma
def _blend(first, last, channels, vertices, attributes, faces, ids, output):
    """Perspective-correct mean of the corners' attributes in each pixel: b_i = (e_i / z_i) / sum_j (e_j / z_j).

    Multiplied by z0 z1 z2 above and below, so that one division is left.
    """
    height, width = np.uintp(ids.shape[1]), np.uintp(ids.shape[2])
    kind = attributes.dtype.type
    for image in range(np.uintp(first), np.uintp(last)):
        for y in range(height):
            output[image, :, y] = 0.0
            for x in range(width):
                face = ids[image, y, x]
                if face < 0:
                    continue
                i, j, k = _face_vertices(faces, np.uintp(face))
                x0, y0, z0 = _relative_to_pixel(vertices, image, i, np.float64(x), np.float64(y))
                x1, y1, z1 = _relative_to_pixel(vertices, image, j, np.float64(x), np.float64(y))
                x2, y2, z2 = _relative_to_pixel(vertices, image, k, np.float64(x), np.float64(y))
                e0, e1, e2 = edge_functions(x0, y0, x1, y1, x2, y2)
                w0, w1, w2 = e0 * (z1 * z2), e1 * (z2 * z0), e2 * (z0 * z1)
                total = w0 + w1 + w2
                if (total == 0.0) | (not np.isfinite(total)):
                    continue
                share = 1.0 / total
                b0, b1, b2 = kind(w0 * share), kind(w1 * share), kind(w2 * share)
                for c in range(len(channels)):
                    mean = b0 * attributes[image, i, c] + b1 * attributes[image, j, c] + b2 * attributes[image, k, c]
                    output[image, c, y, x] = mean


@jit_with_fma
def _blend_backward(first, last, channels, vertices, attributes, faces, ids, gradient, to_vertices, to_attributes):
    """With w_i = e_i / z_i, s = sum w: dL/dw_i = (dL/db_i - sum_j b_j dL/db_j) / s, then through e_i and z_i.

    As in the forward pass, w_i and s are multiplied by z0 z1 z2.
    """
    height, width = np.uintp(ids.shape[1]), np.uintp(ids.shape[2])
    kind = attributes.dtype.type
    for image in range(np.uintp(first), np.uintp(last)):
        to_vertices[image] = 0.0
        to_attributes[image] = 0.0
        for y in range(height):
            for x in range(width):
                face = ids[image, y, x]
                if face < 0:
                    continue
                i, j, k = _face_vertices(faces, np.uintp(face))
                x0, y0, z0 = _relative_to_pixel(vertices, image, i, np.float64(x), np.float64(y))
                x1, y1, z1 = _relative_to_pixel(vertices, image, j, np.float64(x), np.float64(y))
                x2, y2, z2 = _relative_to_pixel(vertices, image, k, np.float64(x), np.float64(y))
                e0, e1, e2 = edge_functions(x0, y0, x1, y1, x2, y2)
                z12, z20, z01 = z1 * z2, z2 * z0, z0 * z1
                w0, w1, w2 = e0 * z12, e1 * z20, e2 * z01
                total = w0 + w1 + w2
                if (total == 0.0) | (not np.isfinite(total)):
                    continue
                share = 1.0 / total
                b0, b1, b2 = w0 * share, w1 * share, w2 * share
                to_b0, to_b1, to_b2 = 0.0, 0.0, 0.0
                for c in range(len(channels)):
                    g = gradient[image, c, y, x]
                    to_b0 += np.float64(g) * attributes[image, i, c]
                    to_b1 += np.float64(g) * attributes[image, j, c]
                    to_b2 += np.float64(g) * attributes[image, k, c]
                    to_attributes[image, i, c] += kind(b0) * g
                    to_attributes[image, j, c] += kind(b1) * g
                    to_attributes[image, k, c] += kind(b2) * g
                mean = b0 * to_b0 + b1 * to_b1 + b2 * to_b2
                to_w0, to_w1, to_w2 = (to_b0 - mean) * share, (to_b1 - mean) * share, (to_b2 - mean) * share
                to_e0, to_e1, to_e2 = to_w0 * z12, to_w1 * z20, to_w2 * z01
                per_z = 1.0 / (z01 * z2)
                to_vertices[image, i, 0] += kind(to_e2 * y1 - to_e1 * y2)
                to_vertices[image, i, 1] += kind(to_e1 * x2 - to_e2 * x1)
                to_vertices[image, i, 2] -= kind(to_w0 * w0 * (z12 * per_z))
                to_vertices[image, j, 0] += kind(to_e0 * y2 - to_e2 * y0)
                to_vertices[image, j, 1] += kind(to_e2 * x0 - to_e0 * x2)
                to_vertices[image, j, 2] -= kind(to_w1 * w1 * (z20 * per_z))
                to_vertices[image, k, 0] += kind(to_e1 * y0 - to_e0 * y1)
                to_vertices[image, k, 1] += kind(to_e0 * x1 - to_e1 * x0)
                to_vertices[image, k, 2] -= kind(to_w2 * w2 * (z01 * per_z))
