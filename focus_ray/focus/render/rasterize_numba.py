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

from focus_ray.focus.render.compiled import compiled, over_images


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """See focus_ray.focus.render.rasterize; arguments are valid."""
    batch = vertices_screen.shape[0]
    ids = torch.empty(batch, height, width, dtype=torch.int64)
    over_images(_draw, batch, _array(vertices_screen), _array(faces), cull_back, ids.numpy())
    return ids


def interpolate(
    vertices_screen: Float[Tensor, "B V 3"],
    attributes: Float[Tensor, "B V D"],
    faces: Int[Tensor, "F 3"],
    ids: Int[Tensor, "B H W"],
) -> Float[Tensor, "B D H W"]:
    """See focus_ray.focus.render.rasterize; arguments are valid."""
    image: Tensor = _Interpolate.apply(vertices_screen, attributes, faces, ids)  # pyright: ignore[reportAssignmentType]
    return image


class _Interpolate(torch.autograd.Function):
    """Saves nothing but its inputs; the backward recomputes each pixel's weights."""

    @staticmethod
    def forward(ctx: Any, vertices_screen: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(vertices_screen, attributes, faces, ids)
        batch, height, width = ids.shape
        image = attributes.new_empty(batch, attributes.shape[2], height, width)
        arrays = [_array(tensor) for tensor in (vertices_screen, attributes, faces, ids)]
        over_images(_blend, batch, *arrays, image.numpy())
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        arrays = [_array(tensor) for tensor in ctx.saved_tensors]
        vertices_screen, attributes, *_ = ctx.saved_tensors
        # contiguous whatever the inputs were: the kernels write through numpy views
        gradients = (
            torch.zeros(vertices_screen.shape, dtype=vertices_screen.dtype),
            torch.zeros(attributes.shape, dtype=attributes.dtype),
        )
        over_images(
            _blend_backward, len(vertices_screen), *arrays, _array(image_gradient), *(g.numpy() for g in gradients)
        )
        return *gradients, None, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@compiled
def _draw(first, last, vertices, faces, cull_back, ids):
    """Z-buffer: one pass over the triangles of each image; the nearest wins, at equal depth the lower id."""
    height, width = ids.shape[1:]
    nearest = np.empty((height, width))  # inverse depth, 1/mm
    for image in range(first, last):
        nearest[:] = 0.0
        ids[image] = -1
        corners = vertices[image]
        for face in range(faces.shape[0]):
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            u0, u1, u2 = np.float64(corners[i, 0]), np.float64(corners[j, 0]), np.float64(corners[k, 0])
            left, right = np.ceil(max(min(u0, u1, u2), 0.0)), np.floor(min(max(u0, u1, u2), width - 1.0))
            if left > right:
                continue
            v0, v1, v2 = np.float64(corners[i, 1]), np.float64(corners[j, 1]), np.float64(corners[k, 1])
            top, bottom = np.ceil(max(min(v0, v1, v2), 0.0)), np.floor(min(max(v0, v1, v2), height - 1.0))
            if top > bottom:
                continue
            z0, z1, z2 = np.float64(corners[i, 2]), np.float64(corners[j, 2]), np.float64(corners[k, 2])
            if not (z0 > 0.0 and z1 > 0.0 and z2 > 0.0 and np.isfinite(u0 + u1 + u2 + v0 + v1 + v2 + z0 + z1 + z2)):
                continue
            q0, q1, q2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
            for y in range(int(top), int(bottom) + 1):
                y0, y1, y2 = v0 - y, v1 - y, v2 - y
                for x in range(int(left), int(right) + 1):
                    x0, x1, x2 = u0 - x, u1 - x, u2 - x
                    e0, e1, e2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
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
    channels = attributes.shape[2]
    for image in range(first, last):
        corners, values = vertices[image], attributes[image]
        for y in range(height):
            for x in range(width):
                face = ids[image, y, x]
                total = 0.0
                if face >= 0:
                    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                    x0, x1, x2 = (
                        np.float64(corners[i, 0]) - x,
                        np.float64(corners[j, 0]) - x,
                        np.float64(corners[k, 0]) - x,
                    )
                    y0, y1, y2 = (
                        np.float64(corners[i, 1]) - y,
                        np.float64(corners[j, 1]) - y,
                        np.float64(corners[k, 1]) - y,
                    )
                    w0 = (x1 * y2 - y1 * x2) / np.float64(corners[i, 2])
                    w1 = (x2 * y0 - y2 * x0) / np.float64(corners[j, 2])
                    w2 = (x0 * y1 - y0 * x1) / np.float64(corners[k, 2])
                    total = w0 + w1 + w2
                if total == 0.0 or not np.isfinite(total):
                    for c in range(channels):
                        output[image, c, y, x] = 0.0
                    continue
                w0, w1, w2 = w0 / total, w1 / total, w2 / total
                for c in range(channels):
                    output[image, c, y, x] = w0 * values[i, c] + w1 * values[j, c] + w2 * values[k, c]


@compiled
def _blend_backward(first, last, vertices, attributes, faces, ids, gradient, vertex_gradient, attribute_gradient):
    """With w_i = e_i / z_i, s = sum w: dL/dw_i = (dL/db_i - sum_j b_j dL/db_j) / s, then through e_i and z_i."""
    height, width = ids.shape[1:]
    channels = attributes.shape[2]
    for image in range(first, last):
        corners, values = vertices[image], attributes[image]
        to_corners, to_values = vertex_gradient[image], attribute_gradient[image]
        for y in range(height):
            for x in range(width):
                face = ids[image, y, x]
                if face < 0:
                    continue
                i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                x0, x1, x2 = np.float64(corners[i, 0]) - x, np.float64(corners[j, 0]) - x, np.float64(corners[k, 0]) - x
                y0, y1, y2 = np.float64(corners[i, 1]) - y, np.float64(corners[j, 1]) - y, np.float64(corners[k, 1]) - y
                z0, z1, z2 = np.float64(corners[i, 2]), np.float64(corners[j, 2]), np.float64(corners[k, 2])
                w0, w1, w2 = (x1 * y2 - y1 * x2) / z0, (x2 * y0 - y2 * x0) / z1, (x0 * y1 - y0 * x1) / z2
                total = w0 + w1 + w2
                if total == 0.0 or not np.isfinite(total):
                    continue
                b0, b1, b2 = w0 / total, w1 / total, w2 / total
                g0, g1, g2 = 0.0, 0.0, 0.0
                for c in range(channels):
                    g = np.float64(gradient[image, c, y, x])
                    g0 += g * values[i, c]
                    g1 += g * values[j, c]
                    g2 += g * values[k, c]
                    to_values[i, c] += b0 * g
                    to_values[j, c] += b1 * g
                    to_values[k, c] += b2 * g
                mean = b0 * g0 + b1 * g1 + b2 * g2
                # dL/de_i
                g0, g1, g2 = (g0 - mean) / (total * z0), (g1 - mean) / (total * z1), (g2 - mean) / (total * z2)
                to_corners[i, 0] += g2 * y1 - g1 * y2
                to_corners[i, 1] += g1 * x2 - g2 * x1
                to_corners[i, 2] -= g0 * w0
                to_corners[j, 0] += g0 * y2 - g2 * y0
                to_corners[j, 1] += g2 * x0 - g0 * x2
                to_corners[j, 2] -= g1 * w1
                to_corners[k, 0] += g1 * y0 - g0 * y1
                to_corners[k, 1] += g0 * x1 - g1 * x0
                to_corners[k, 2] -= g2 * w2
