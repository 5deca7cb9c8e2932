"""Vertex normals of one image as compiled CPU kernels, forward and backward, in double."""

import numpy as np

from focus_ray.focus.render.normals import MIN_SQUARED_NORM
from focus_ray.focus.render.numba_jit import inner_jit


@inner_jit
def unit_normals(vertices, faces, normals):
    """Compute vertex normals as `focus_ray.focus.render.normals` specifies.

    Args:
        vertices: [V, 3], mm.
        faces: [F, 3], vertex indices of the triangles.
        normals: [V, 4], double, written in place: the unit normal and one over the length of the sum over the triangles
            around the vertex; zeros where the sum has no direction.
    """
    normals[:] = 0.0
    for face in range(np.uintp(faces.shape[0])):
        i, j, k, ax, ay, az, bx, by, bz = _triangle_edges(vertices, faces, face)
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        _add(normals, i, nx, ny, nz)
        _add(normals, j, nx, ny, nz)
        _add(normals, k, nx, ny, nz)
    for vertex in range(np.uintp(normals.shape[0])):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        squared = x * x + y * y + z * z
        scale = 1.0 / np.sqrt(squared) if squared > MIN_SQUARED_NORM else 0.0
        normals[vertex, 0], normals[vertex, 1], normals[vertex, 2] = x * scale, y * scale, z * scale
        normals[vertex, 3] = scale


@inner_jit
def unit_normals_backward(vertices, faces, normals, to_normals, to_vertices):
    """With n = s / |s|: dL/ds = (g - n (n . g)) / |s|; with c = a x b: dL/da = b x dL/dc, dL/db = dL/dc x a.

    Args:
        vertices: as in `unit_normals`.
        faces: as in `unit_normals`.
        normals: result of `unit_normals`.
        to_normals: [V, 3], double, gradient of the unit normals; overwritten.
        to_vertices: [V, 3], double; the gradient is added to it.
    """
    for vertex in range(np.uintp(normals.shape[0])):
        x, y, z, scale = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2], normals[vertex, 3]
        gx, gy, gz = to_normals[vertex, 0], to_normals[vertex, 1], to_normals[vertex, 2]
        along = x * gx + y * gy + z * gz
        to_normals[vertex, 0] = (gx - x * along) * scale
        to_normals[vertex, 1] = (gy - y * along) * scale
        to_normals[vertex, 2] = (gz - z * along) * scale
    for face in range(np.uintp(faces.shape[0])):
        i, j, k, ax, ay, az, bx, by, bz = _triangle_edges(vertices, faces, face)
        gx = to_normals[i, 0] + to_normals[j, 0] + to_normals[k, 0]
        gy = to_normals[i, 1] + to_normals[j, 1] + to_normals[k, 1]
        gz = to_normals[i, 2] + to_normals[j, 2] + to_normals[k, 2]
        if (gx == 0.0) & (gy == 0.0) & (gz == 0.0):  # not seen in the image
            continue
        to_ax, to_ay, to_az = by * gz - bz * gy, bz * gx - bx * gz, bx * gy - by * gx
        to_bx, to_by, to_bz = gy * az - gz * ay, gz * ax - gx * az, gx * ay - gy * ax
        _add(to_vertices, i, -to_ax - to_bx, -to_ay - to_by, -to_az - to_bz)
        _add(to_vertices, j, to_ax, to_ay, to_az)
        _add(to_vertices, k, to_bx, to_by, to_bz)


@inner_jit
def _triangle_edges(vertices, faces, face):
    """The triangle's vertices and its sides v1 - v0 and v2 - v0, in double."""
    # unsigned: an index that cannot be negative is read without a wrap-around
    i, j, k = np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])
    x, y, z = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
    ax, ay, az = vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z
    bx, by, bz = vertices[k, 0] - x, vertices[k, 1] - y, vertices[k, 2] - z
    return i, j, k, ax, ay, az, bx, by, bz


@inner_jit
def _add(total, vertex, x, y, z):
    total[vertex, 0] += x
    total[vertex, 1] += y
    total[vertex, 2] += z
