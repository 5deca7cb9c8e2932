"""The numba back end: z-buffer and interpolation on the CPU, with an analytic backward.

Arithmetic is in double whatever the input's type: it costs nothing in scalar code, makes face ids those of exact
float64 brute force, and keeps gradients of sub-pixel triangles clean.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from focus_ray.focus.render.compiled import array, compiled, over_images


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """See focus_ray.focus.render.rasterize; arguments are valid."""
    batch = vertices_screen.shape[0]
    ids = torch.empty(batch, height, width, dtype=torch.int64)
    over_images(_draw, batch, array(vertices_screen), array(faces), cull_back, ids.numpy())
    return ids


def interpolate(
    vertices_screen: Float[Tensor, "B V 3"],
    attributes: Float[Tensor, "B V D"],
    faces: Int[Tensor, "F 3"],
    ids: Int[Tensor, "B H W"],
) -> Float[Tensor, "B D H W"]:
    """See focus_ray.focus.render.rasterize; arguments are valid."""
    return _Interpolate.apply(vertices_screen, attributes, faces, ids)


class _Interpolate(torch.autograd.Function):
    """Saves nothing but its inputs; the backward recomputes each pixel's weights."""

    @staticmethod
    def forward(ctx: Any, vertices_screen: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(vertices_screen, attributes, faces, ids)
        batch, height, width = ids.shape
        image = attributes.new_empty(batch, attributes.shape[2], height, width)
        arrays = [array(tensor) for tensor in (vertices_screen, attributes, faces, ids)]
        over_images(_blend, batch, *arrays, image.numpy())
        return image

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, image_gradient: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        vertices_screen, attributes, *_ = ctx.saved_tensors
        # contiguous whatever the inputs were: the kernels write through numpy views
        to_vertices = torch.zeros(vertices_screen.shape, dtype=vertices_screen.dtype)
        to_attributes = torch.zeros(attributes.shape, dtype=attributes.dtype)
        arrays = [array(tensor) for tensor in (*ctx.saved_tensors, image_gradient)]
        over_images(_blend_backward, len(vertices_screen), *arrays, to_vertices.numpy(), to_attributes.numpy())
        return to_vertices, to_attributes, None, None


@compiled
def _seen_from(corners, vertex, x, y):
    """(u, v) of a vertex relative to the pixel, and its depth, in double."""
    return np.float64(corners[vertex, 0]) - x, np.float64(corners[vertex, 1]) - y, np.float64(corners[vertex, 2])


@compiled
def _edges(x0, y0, x1, y1, x2, y2):
    """Twice the signed areas that the pixel spans with each side: exactly antisymmetric in the side's ends."""
    return x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1


@compiled
def _draw(first, last, vertices, faces, cull_back, ids):
    """Z-buffer: one pass over the triangles of each image; the nearest wins, at equal depth the lower id."""
    height, width = ids.shape[1:]
    nearest = np.empty((height, width))  # inverse depth, 1/mm
    for image in range(first, last):
        nearest[:] = 0.0
        ids[image] = -1
        for face in range(faces.shape[0]):
            u0, v0, z0 = _seen_from(vertices[image], faces[face, 0], 0.0, 0.0)
            u1, v1, z1 = _seen_from(vertices[image], faces[face, 1], 0.0, 0.0)
            u2, v2, z2 = _seen_from(vertices[image], faces[face, 2], 0.0, 0.0)
            # pixel centres between the extremes: most triangles of a fine mesh have none
            left, right = np.ceil(max(min(u0, u1, u2), 0.0)), np.floor(min(max(u0, u1, u2), width - 1.0))
            top, bottom = np.ceil(max(min(v0, v1, v2), 0.0)), np.floor(min(max(v0, v1, v2), height - 1.0))
            if left > right or top > bottom:
                continue
            in_front = z0 > 0.0 and z1 > 0.0 and z2 > 0.0
            if not (in_front and np.isfinite(u0 + u1 + u2 + v0 + v1 + v2 + z0 + z1 + z2)):
                continue
            q0, q1, q2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
            for y in range(int(top), int(bottom) + 1):
                for x in range(int(left), int(right) + 1):
                    e0, e1, e2 = _edges(u0 - x, v0 - y, u1 - x, v1 - y, u2 - x, v2 - y)
                    front = e0 <= 0.0 and e1 <= 0.0 and e2 <= 0.0
                    back = e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0 and not cull_back
                    area = e0 + e1 + e2
                    if (front or back) and area != 0.0:
                        inverse_depth = (e0 * q0 + e1 * q1 + e2 * q2) / area
                        if inverse_depth > nearest[y, x]:
                            nearest[y, x] = inverse_depth
                            ids[image, y, x] = face


@compiled
def _blend(first, last, vertices, attributes, faces, ids, output):
    """Perspective-correct mean of the corners' attributes in each pixel: b_i = (e_i / z_i) / sum_j (e_j / z_j)."""
    height, width = ids.shape[1:]
    for image in range(first, last):
        output[image] = 0.0
        values = attributes[image]
        for y in range(height):
            for x in range(width):
                face = ids[image, y, x]
                if face < 0:
                    continue
                i, j, k = faces[face]
                x0, y0, z0 = _seen_from(vertices[image], i, x, y)
                x1, y1, z1 = _seen_from(vertices[image], j, x, y)
                x2, y2, z2 = _seen_from(vertices[image], k, x, y)
                e0, e1, e2 = _edges(x0, y0, x1, y1, x2, y2)
                w0, w1, w2 = e0 / z0, e1 / z1, e2 / z2
                total = w0 + w1 + w2
                if total == 0.0 or not np.isfinite(total):
                    continue
                b0, b1, b2 = w0 / total, w1 / total, w2 / total
                for c in range(values.shape[1]):
                    output[image, c, y, x] = b0 * values[i, c] + b1 * values[j, c] + b2 * values[k, c]


@compiled
def _blend_backward(first, last, vertices, attributes, faces, ids, gradient, to_vertices, to_attributes):
    """With w_i = e_i / z_i, s = sum w: dL/dw_i = (dL/db_i - sum_j b_j dL/db_j) / s, then through e_i and z_i."""
    height, width = ids.shape[1:]
    for image in range(first, last):
        values, to_values, to_corners = attributes[image], to_attributes[image], to_vertices[image]
        for y in range(height):
            for x in range(width):
                face = ids[image, y, x]
                if face < 0:
                    continue
                i, j, k = faces[face]
                x0, y0, z0 = _seen_from(vertices[image], i, x, y)
                x1, y1, z1 = _seen_from(vertices[image], j, x, y)
                x2, y2, z2 = _seen_from(vertices[image], k, x, y)
                e0, e1, e2 = _edges(x0, y0, x1, y1, x2, y2)
                w0, w1, w2 = e0 / z0, e1 / z1, e2 / z2
                total = w0 + w1 + w2
                if total == 0.0 or not np.isfinite(total):
                    continue
                b0, b1, b2 = w0 / total, w1 / total, w2 / total
                to_b0, to_b1, to_b2 = 0.0, 0.0, 0.0
                for c in range(values.shape[1]):
                    g = np.float64(gradient[image, c, y, x])
                    to_b0 += g * values[i, c]
                    to_b1 += g * values[j, c]
                    to_b2 += g * values[k, c]
                    to_values[i, c] += b0 * g
                    to_values[j, c] += b1 * g
                    to_values[k, c] += b2 * g
                mean = b0 * to_b0 + b1 * to_b1 + b2 * to_b2
                to_e0 = (to_b0 - mean) / (total * z0)
                to_e1 = (to_b1 - mean) / (total * z1)
                to_e2 = (to_b2 - mean) / (total * z2)
                to_corners[i, 0] += to_e2 * y1 - to_e1 * y2
                to_corners[i, 1] += to_e1 * x2 - to_e2 * x1
                to_corners[i, 2] -= to_e0 * w0
                to_corners[j, 0] += to_e0 * y2 - to_e2 * y0
                to_corners[j, 1] += to_e2 * x0 - to_e0 * x2
                to_corners[j, 2] -= to_e1 * w1
                to_corners[k, 0] += to_e1 * y0 - to_e0 * y1
                to_corners[k, 1] += to_e0 * x1 - to_e1 * x0
                to_corners[k, 2] -= to_e2 * w2
