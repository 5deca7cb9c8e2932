"""The renderer after the face model as compiled CPU kernels: pose, normals, shading, z-buffer and interpolation.

One pass over each image with an analytic backward. Arrays between the steps belong to one image and stay in a core's
own cache. Screen coordinates have the bits of `camera.rotate`, `translate` and `project` in torch, so that the ids are
those of the separate ops; normals, weights and shading are computed in double.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from focus_ray.focus.camera import NEAREST_MM, Camera
from focus_ray.focus.render.normals_numba import unit_normals, unit_normals_backward
from focus_ray.focus.render.numba_jit import as_numpy, inner_jit, inner_jit_with_fma, jit, run_parallel
from focus_ray.focus.render.rasterize_numba import POSITION, as_int32, blend, blend_backward, channel_tuple
from focus_ray.focus.render.zbuffer_numba import rasterize_image

_MONOMIALS = 10
_COLOUR = 3
# A vertex's record: u, v, z, R, G, B, z again as an attribute; padded to half a cache line.
_RECORD = 8


class MeshRendering(NamedTuple):
    """Output of `render_mesh`. Differentiable, except the ids."""

    image: Float[Tensor, "B 3 H W"]
    """RGB, 0 outside the mesh."""
    depth: Float[Tensor, "B 1 H W"]
    """z in mm, 0 outside the mesh."""
    triangle_ids: Int[Tensor, "B H W"]
    """Nearest triangle of each pixel, -1 for none."""
    vertices_screen: Float[Tensor, "B V 3"]
    """(u px, v px, z mm)."""


def render_mesh(
    vertices: Float[Tensor, "B V 3"],
    albedo: Float[Tensor, "B V 3"],
    polynomials: Float[Tensor, "B 10 3"],
    rotation: Float[Tensor, "B 3 3"],
    translation: Float[Tensor, "B 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    cull_back: bool,
) -> MeshRendering:
    """Draw shaded meshes; arguments are not checked.

    Args:
        vertices: model space, mm.
        albedo: RGB of the vertices.
        polynomials: light as coefficients of the monomials of the normal (`shading.light_polynomials`).
        rotation: from model space to the axes of the camera.
        translation: from the camera's centre, distance included, mm.
        faces: vertex indices of the triangles.
        camera: focal length, centre and image size.
        cull_back: leave out triangles that wind clockwise on the screen.

    Returns:
        Images, depths, ids and screen coordinates.
    """
    return MeshRendering(
        *_RenderMesh.apply(vertices, albedo, polynomials, rotation, translation, faces, camera, cull_back)
    )


class _RenderMesh(torch.autograd.Function):
    """Keeps the ids, the screen coordinates and the normals; the backward recomputes the rest."""

    @staticmethod
    def forward(
        ctx: Any,
        vertices: Tensor,
        albedo: Tensor,
        polynomials: Tensor,
        rotation: Tensor,
        translation: Tensor,
        faces: Tensor,
        camera: Camera,
        cull_back: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (batch, n_vertices, _), size = vertices.shape, camera.image_size
        pixels = vertices.new_empty(batch, _COLOUR + 1, size, size)
        ids = torch.empty(batch, size, size, dtype=torch.int64)
        screen = torch.empty(batch, n_vertices, 3, dtype=vertices.dtype)
        normals = torch.empty(batch, n_vertices, 4, dtype=torch.float64)
        triangles, lens = as_int32(faces), _lens(camera, vertices)
        meshes = [as_numpy(tensor) for tensor in (vertices, albedo, polynomials, rotation, translation)]
        results = [tensor.numpy() for tensor in (screen, normals, ids, pixels)]
        channels = channel_tuple(_COLOUR + 1)
        run_parallel(_render_images, batch, channels, *meshes, triangles, lens, cull_back, *results)
        ctx.save_for_backward(vertices, albedo, polynomials, rotation, faces, screen, normals, ids)
        ctx.lens = lens
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(ids)
        return pixels[:, :_COLOUR], pixels[:, _COLOUR:], ids, screen

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, to_image: Tensor | None, to_depth: Tensor | None, _: None, to_screen: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        vertices, albedo, polynomials, rotation, faces, screen, normals, ids = ctx.saved_tensors
        image = vertices.new_zeros(len(ids), _COLOUR, *ids.shape[1:]) if to_image is None else to_image
        pixels = image if to_depth is None else torch.cat((image, to_depth), dim=1)
        positions = vertices.new_zeros(len(ids), 0, 3) if to_screen is None else to_screen
        # contiguous for any inputs: the kernels write through numpy views
        inputs = vertices, albedo, polynomials, rotation
        results = [torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in inputs]
        results.append(torch.empty(len(ids), 3, dtype=vertices.dtype))
        arrays = [as_numpy(tensor) for tensor in (*inputs, screen, normals, ids, pixels, positions)]
        channels, written = channel_tuple(pixels.shape[1]), [tensor.numpy() for tensor in results]
        run_parallel(_render_backward, len(ids), channels, as_int32(faces), ctx.lens, *arrays, *written)
        return (*results, None, None, None)


def _lens(camera: Camera, vertices: Tensor) -> np.ndarray:
    """(focal length px, centre px, least divisor mm) in the type of the vertices."""
    return torch.tensor([camera.focal, camera.centre, NEAREST_MM], dtype=vertices.dtype).numpy()


@jit
def _render_images(
    first, last, channels, vertices, albedo, polynomials, rotation, translation,
    triangles, lens, cull_back, screen, normals, ids, pixels,
):  # fmt: skip
    n_vertices = vertices.shape[1]
    rotated = np.empty((n_vertices, 3), vertices.dtype)
    records = np.empty((n_vertices, _RECORD), vertices.dtype)
    points = np.empty((n_vertices, 4))
    nearest = np.empty(ids.shape[1:])  # inverse depth, 1/mm
    for image in range(first, last):
        _rotate(vertices[image], rotation[image], rotated)
        _project(rotated, translation[image], lens, screen[image])
        rasterize_image(screen[image], triangles, cull_back, points, nearest, ids[image])
        unit_normals(rotated, triangles, normals[image])
        _write_records(screen[image], albedo[image], polynomials[image], normals[image], records)
        blend(records, channels, triangles, ids[image], pixels[image])


@inner_jit
def _rotate(vertices, rotation, rotated):
    """R X, with the roundings of `camera.rotate`."""
    for vertex in range(np.uintp(vertices.shape[0])):
        x, y, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
        for row in range(3):
            rotated[vertex, row] = x * rotation[row, 0] + y * rotation[row, 1] + z * rotation[row, 2]


@inner_jit
def _project(rotated, translation, lens, screen):
    """K (R X + T), with the roundings of `camera.project`."""
    focal, centre, nearest = lens[0], lens[1], lens[2]
    one = rotated.dtype.type(1.0)
    for vertex in range(np.uintp(rotated.shape[0])):
        depth = rotated[vertex, 2] + translation[2]
        scale = (one / _divisor(depth, nearest)) * focal
        screen[vertex, 0] = (rotated[vertex, 0] + translation[0]) * scale + centre
        screen[vertex, 1] = (rotated[vertex, 1] + translation[1]) * scale + centre
        screen[vertex, 2] = depth


@inner_jit
def _divisor(depth, nearest):
    return nearest if np.abs(depth) < nearest else depth


@inner_jit
def _copy(source, target):
    """Copy a matrix. Written as target[:] = source, numba would compile its messages about shapes too, for seconds."""
    for row in range(np.uintp(source.shape[0])):
        for column in range(np.uintp(source.shape[1])):
            target[row, column] = source[row, column]


@inner_jit
def _add_positions(to_screen, to_records):
    for vertex in range(np.uintp(to_screen.shape[0])):
        for axis in range(POSITION):
            to_records[vertex, axis] += to_screen[vertex, axis]


@inner_jit_with_fma
def _write_records(screen, albedo, polynomials, normals, records):
    """Screen position, colour = albedo times light of the normal, and depth of every vertex."""
    p = np.empty((_MONOMIALS, 3))
    _copy(polynomials, p)
    for vertex in range(np.uintp(screen.shape[0])):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        for c in range(3):
            light = p[0, c] + p[1, c] * x + p[2, c] * y + p[3, c] * z
            light += p[4, c] * (x * y) + p[5, c] * (y * z) + p[6, c] * (z * x)
            light += p[7, c] * (x * x) + p[8, c] * (y * y) + p[9, c] * (z * z)
            records[vertex, c] = screen[vertex, c]
            records[vertex, POSITION + c] = albedo[vertex, c] * light
        records[vertex, POSITION + 3] = screen[vertex, 2]


@jit
def _render_backward(
    first, last, channels, triangles, lens, vertices, albedo, polynomials, rotation, screen, normals, ids,
    to_pixels, to_screen, to_vertices, to_albedo, to_polynomials, to_rotation, to_translation,
):  # fmt: skip
    n_vertices = vertices.shape[1]
    rotated = np.empty((n_vertices, 3), vertices.dtype)
    records = np.empty((n_vertices, _RECORD), vertices.dtype)
    to_records = np.empty((n_vertices, _RECORD), vertices.dtype)
    to_normals, to_rotated = np.empty((n_vertices, 3)), np.empty((n_vertices, 3))
    for image in range(first, last):
        _rotate(vertices[image], rotation[image], rotated)
        _write_records(screen[image], albedo[image], polynomials[image], normals[image], records)
        to_records[:] = 0.0
        blend_backward(records, channels, triangles, ids[image], to_pixels[image], to_records)
        if to_screen.shape[1] > 0:
            _add_positions(to_screen[image], to_records)
        _shade_backward(
            albedo[image], polynomials[image], normals[image], to_records,
            to_albedo[image], to_polynomials[image], to_normals,
        )  # fmt: skip
        to_rotated[:] = 0.0
        unit_normals_backward(rotated, triangles, normals[image], to_normals, to_rotated)
        _project_backward(screen[image], lens, to_records, to_rotated, to_translation[image])
        _rotate_backward(vertices[image], rotation[image], to_rotated, to_vertices[image], to_rotation[image])


@inner_jit_with_fma
def _shade_backward(albedo, polynomials, normals, to_records, to_albedo, to_polynomials, to_normals):
    """Gradients of colour = albedo times light of the normal."""
    p = np.empty((_MONOMIALS, 3))
    _copy(polynomials, p)
    to_p = np.zeros((_MONOMIALS, 3))
    for vertex in range(np.uintp(albedo.shape[0])):
        gx, gy, gz = 0.0, 0.0, 0.0
        r, g, b = to_records[vertex, 3], to_records[vertex, 4], to_records[vertex, 5]
        if (r == 0.0) & (g == 0.0) & (b == 0.0):  # not seen in the image
            to_albedo[vertex] = 0.0
            to_normals[vertex] = 0.0
            continue
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        for c in range(3):
            light = p[0, c] + p[1, c] * x + p[2, c] * y + p[3, c] * z
            light += p[4, c] * (x * y) + p[5, c] * (y * z) + p[6, c] * (z * x)
            light += p[7, c] * (x * x) + p[8, c] * (y * y) + p[9, c] * (z * z)
            to_colour = np.float64(to_records[vertex, POSITION + c])
            to_albedo[vertex, c] = to_colour * light
            to_light = to_colour * albedo[vertex, c]
            to_p[0, c] += to_light
            to_p[1, c] += to_light * x
            to_p[2, c] += to_light * y
            to_p[3, c] += to_light * z
            to_p[4, c] += to_light * (x * y)
            to_p[5, c] += to_light * (y * z)
            to_p[6, c] += to_light * (z * x)
            to_p[7, c] += to_light * (x * x)
            to_p[8, c] += to_light * (y * y)
            to_p[9, c] += to_light * (z * z)
            gx += to_light * (p[1, c] + p[4, c] * y + p[6, c] * z + 2.0 * p[7, c] * x)
            gy += to_light * (p[2, c] + p[4, c] * x + p[5, c] * z + 2.0 * p[8, c] * y)
            gz += to_light * (p[3, c] + p[5, c] * y + p[6, c] * x + 2.0 * p[9, c] * z)
        to_normals[vertex, 0], to_normals[vertex, 1], to_normals[vertex, 2] = gx, gy, gz
    _copy(to_p, to_polynomials)


@inner_jit_with_fma
def _project_backward(screen, lens, to_records, to_rotated, to_translation):
    """Gradients of u = f x / z + c: f / z to x, and -(u - c) / z to z; the depth's own is added."""
    focal, centre, nearest = np.float64(lens[0]), np.float64(lens[1]), np.float64(lens[2])
    tx, ty, tz = 0.0, 0.0, 0.0
    for vertex in range(np.uintp(screen.shape[0])):
        to_u, to_v = np.float64(to_records[vertex, 0]), np.float64(to_records[vertex, 1])
        to_z = np.float64(to_records[vertex, 2]) + to_records[vertex, POSITION + 3]
        if (to_u == 0.0) & (to_v == 0.0) & (to_z == 0.0):
            continue
        depth = np.float64(screen[vertex, 2])
        per_depth = 1.0 / _divisor(depth, nearest)
        to_x, to_y = to_u * (focal * per_depth), to_v * (focal * per_depth)
        if np.abs(depth) >= nearest:
            to_z -= (to_u * (screen[vertex, 0] - centre) + to_v * (screen[vertex, 1] - centre)) * per_depth
        to_rotated[vertex, 0] += to_x
        to_rotated[vertex, 1] += to_y
        to_rotated[vertex, 2] += to_z
        tx += to_x
        ty += to_y
        tz += to_z
    to_translation[0], to_translation[1], to_translation[2] = tx, ty, tz


@inner_jit_with_fma
def _rotate_backward(vertices, rotation, to_rotated, to_vertices, to_rotation):
    """dL/dX = R^T g and dL/dR = sum of g X^T."""
    r, to_r = np.empty((3, 3)), np.zeros((3, 3))
    _copy(rotation, r)
    for vertex in range(np.uintp(vertices.shape[0])):
        gx, gy, gz = to_rotated[vertex, 0], to_rotated[vertex, 1], to_rotated[vertex, 2]
        for column in range(3):
            to_vertices[vertex, column] = gx * r[0, column] + gy * r[1, column] + gz * r[2, column]
            to_r[0, column] += gx * vertices[vertex, column]
            to_r[1, column] += gy * vertices[vertex, column]
            to_r[2, column] += gz * vertices[vertex, column]
    _copy(to_r, to_rotation)
