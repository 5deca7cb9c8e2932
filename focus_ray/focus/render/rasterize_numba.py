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

from focus_ray.focus.render.numba_jit import as_numpy, inner_jit, inner_jit_with_fma, jit, run_parallel
from focus_ray.focus.render.zbuffer_numba import edge_functions, rasterize_images

POSITION = 3
"""Columns of a vertex's record before its attributes: u, v, z."""


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
    run_parallel(rasterize_images, batch, as_numpy(vertices_screen), as_int32(faces), cull_back, ids.numpy())
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
        arrays = as_numpy(vertices_screen), as_numpy(attributes), as_int32(faces), as_numpy(ids)
        run_parallel(_interpolate_images, batch, channel_tuple(attributes.shape[2]), *arrays, image.numpy())
        return image

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, image_gradient: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        vertices_screen, attributes, faces, ids = ctx.saved_tensors
        # contiguous for any inputs: the kernels write through numpy views
        to_vertices = torch.empty(vertices_screen.shape, dtype=vertices_screen.dtype)
        to_attributes = torch.empty(attributes.shape, dtype=attributes.dtype)
        arrays = as_numpy(vertices_screen), as_numpy(attributes), as_int32(faces), as_numpy(ids)
        results = to_vertices.numpy(), to_attributes.numpy()
        channels = channel_tuple(attributes.shape[2])
        run_parallel(_interpolate_backward, len(ids), channels, *arrays, as_numpy(image_gradient), *results)
        return to_vertices, to_attributes, None, None


def as_int32(faces: Tensor) -> np.ndarray:
    """Return the triangles as a contiguous array of int32, which halves the memory to read."""
    return np.ascontiguousarray(faces.numpy(), dtype=np.int32)


def channel_tuple(number: int) -> tuple[int, ...]:
    """Return the channels as a tuple: its length is part of its type, so that kernels have unrolled loops."""
    return tuple(range(number))


@jit
def _interpolate_images(first, last, channels, vertices, attributes, faces, ids, output):
    records = np.empty((vertices.shape[1], POSITION + attributes.shape[2]), attributes.dtype)
    for image in range(first, last):
        _join(vertices[image], attributes[image], channels, records)
        blend(records, channels, faces, ids[image], output[image])


@jit
def _interpolate_backward(
    first, last, channels, vertices, attributes, faces, ids, to_picture, to_vertices, to_attributes
):
    records = np.empty((vertices.shape[1], POSITION + attributes.shape[2]), attributes.dtype)
    to_records = np.empty(records.shape, records.dtype)
    for image in range(first, last):
        _join(vertices[image], attributes[image], channels, records)
        to_records[:] = 0.0
        blend_backward(records, channels, faces, ids[image], to_picture[image], to_records)
        _split(to_records, channels, to_vertices[image], to_attributes[image])


@inner_jit
def _join(vertices, attributes, channels, records):
    for vertex in range(np.uintp(records.shape[0])):
        for c in range(POSITION):
            records[vertex, c] = vertices[vertex, c]
        for c in range(len(channels)):
            records[vertex, POSITION + c] = attributes[vertex, c]


@inner_jit
def _split(records, channels, vertices, attributes):
    for vertex in range(np.uintp(records.shape[0])):
        for c in range(POSITION):
            vertices[vertex, c] = records[vertex, c]
        for c in range(len(channels)):
            attributes[vertex, c] = records[vertex, POSITION + c]


@inner_jit
def _face_vertices(faces, face):
    """The three vertices of a triangle, unsigned: an index that cannot be negative is read without a wrap-around."""
    return np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])


@inner_jit
def _relative_to_pixel(records, vertex, x, y):
    """(u, v) of a vertex relative to the pixel, and its depth, in double."""
    return np.float64(records[vertex, 0]) - x, np.float64(records[vertex, 1]) - y, np.float64(records[vertex, 2])


@inner_jit_with_fma
def blend(records, channels, faces, ids, picture):
    """Perspective-correct mean of the corners' attributes in each pixel: b_i = (e_i / z_i) / sum_j (e_j / z_j).

    Multiplied by z0 z1 z2 above and below, so that one division is left. A vertex's numbers lie beside each other: the
    triangles of neighbouring pixels lie anywhere in memory.

    Args:
        records: [V, 3 + D or more], u px, v px, z mm and D attributes of the vertices.
        channels: the numbers 0..D - 1 as a tuple.
        faces: [F, 3], vertex indices of the triangles.
        ids: [H, W], triangle of each pixel, -1 for none.
        picture: [D, H, W], written in place; 0 where there is no triangle.
    """
    height, width = np.uintp(ids.shape[0]), np.uintp(ids.shape[1])
    kind = records.dtype.type
    for y in range(height):
        picture[:, y] = 0.0
        for x in range(width):
            face = ids[y, x]
            if face < 0:
                continue
            i, j, k = _face_vertices(faces, np.uintp(face))
            x0, y0, z0 = _relative_to_pixel(records, i, np.float64(x), np.float64(y))
            x1, y1, z1 = _relative_to_pixel(records, j, np.float64(x), np.float64(y))
            x2, y2, z2 = _relative_to_pixel(records, k, np.float64(x), np.float64(y))
            e0, e1, e2 = edge_functions(x0, y0, x1, y1, x2, y2)
            w0, w1, w2 = e0 * (z1 * z2), e1 * (z2 * z0), e2 * (z0 * z1)
            total = w0 + w1 + w2
            if (total == 0.0) | (not np.isfinite(total)):
                continue
            share = 1.0 / total
            b0, b1, b2 = kind(w0 * share), kind(w1 * share), kind(w2 * share)
            for c in range(len(channels)):
                a = POSITION + c
                picture[c, y, x] = b0 * records[i, a] + b1 * records[j, a] + b2 * records[k, a]


@inner_jit_with_fma
def blend_backward(records, channels, faces, ids, to_picture, to_records):
    """With w_i = e_i / z_i, s = sum w: dL/dw_i = (dL/db_i - sum_j b_j dL/db_j) / s, then through e_i and z_i.

    As in the forward pass, w_i and s are multiplied by z0 z1 z2.

    Args:
        records: as in `blend`.
        channels: as in `blend`.
        faces: as in `blend`.
        ids: as in `blend`.
        to_picture: [D, H, W], gradient of the picture.
        to_records: of the shape of `records`; the gradient is added to it.
    """
    height, width = np.uintp(ids.shape[0]), np.uintp(ids.shape[1])
    kind = records.dtype.type
    for y in range(height):
        for x in range(width):
            face = ids[y, x]
            if face < 0:
                continue
            i, j, k = _face_vertices(faces, np.uintp(face))
            x0, y0, z0 = _relative_to_pixel(records, i, np.float64(x), np.float64(y))
            x1, y1, z1 = _relative_to_pixel(records, j, np.float64(x), np.float64(y))
            x2, y2, z2 = _relative_to_pixel(records, k, np.float64(x), np.float64(y))
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
                a = POSITION + c
                g = to_picture[c, y, x]
                to_b0 += np.float64(g) * records[i, a]
                to_b1 += np.float64(g) * records[j, a]
                to_b2 += np.float64(g) * records[k, a]
                to_records[i, a] += kind(b0) * g
                to_records[j, a] += kind(b1) * g
                to_records[k, a] += kind(b2) * g
            mean = b0 * to_b0 + b1 * to_b1 + b2 * to_b2
            to_w0, to_w1, to_w2 = (to_b0 - mean) * share, (to_b1 - mean) * share, (to_b2 - mean) * share
            to_e0, to_e1, to_e2 = to_w0 * z12, to_w1 * z20, to_w2 * z01
            per_z = 1.0 / (z01 * z2)
            to_records[i, 0] += kind(to_e2 * y1 - to_e1 * y2)
            to_records[i, 1] += kind(to_e1 * x2 - to_e2 * x1)
            to_records[i, 2] -= kind(to_w0 * w0 * (z12 * per_z))
            to_records[j, 0] += kind(to_e0 * y2 - to_e2 * y0)
            to_records[j, 1] += kind(to_e2 * x0 - to_e0 * x2)
            to_records[j, 2] -= kind(to_w1 * w1 * (z20 * per_z))
            to_records[k, 0] += kind(to_e1 * y0 - to_e0 * y1)
            to_records[k, 1] += kind(to_e0 * x1 - to_e1 * x0)
            to_records[k, 2] -= kind(to_w2 * w2 * (z01 * per_z))
