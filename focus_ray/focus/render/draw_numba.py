"""The z-buffer's kernel: which triangle is nearest in each pixel.

A triangle of a fine mesh covers about one pixel centre, often none, and no branch predictor knows which. So the work
goes in passes whose loops have no branch and run on vector registers; only triangles with several candidate pixels are
walked pixel by pixel. Arithmetic is in double, in the order that the torch back end has.
"""

import numpy as np

from focus_ray.focus.render.compiled import compiled


@compiled
def edges(x0, y0, x1, y1, x2, y2):
    """Twice the signed areas that the pixel spans with each side: exactly antisymmetric in the side's ends."""
    return x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1


@compiled
def draw(first, last, vertices, corners, cull_back, ids):
    """ids[first:last] from vertices [B,V,3] (u, v, z) and the triangles' corners [3,F]."""
    n_vertices, n_faces = vertices.shape[1], corners.shape[1]
    nearest = np.empty(ids.shape[1:])  # inverse depth, 1/mm
    u, v, z = np.empty(n_vertices), np.empty(n_vertices), np.empty(n_vertices)
    left, right, top, bottom = np.empty(n_faces), np.empty(n_faces), np.empty(n_faces), np.empty(n_faces)
    single, several = np.empty(n_faces + 1, np.int64), np.empty(n_faces + 1, np.int64)
    inverse_depth = np.empty(n_faces)
    for image in range(first, last):
        nearest[:] = 0.0
        ids[image] = -1
        u[:], v[:], z[:] = vertices[image, :, 0], vertices[image, :, 1], vertices[image, :, 2]
        _extent(u, corners, ids.shape[2], left, right)
        _extent(v, corners, ids.shape[1], top, bottom)
        n_single, n_several = _sort(left, right, top, bottom, single, several)
        _cover(u, v, z, corners, single[:n_single], left, top, cull_back, inverse_depth)
        _keep_covered(single, inverse_depth[:n_single], left, top, nearest, ids[image])
        _walk(u, v, z, corners, several[:n_several], left, right, top, bottom, cull_back, nearest, ids[image])


@compiled
def _corners_of(corners, face):
    """The triangle's vertices, unsigned: an index that cannot be negative is read without a wrap-around."""
    return np.uintp(corners[0, face]), np.uintp(corners[1, face]), np.uintp(corners[2, face])


@compiled
def _extent(coordinate, corners, size, first, last):
    """First and last pixel centre between each triangle's extremes, inside the image; none where first > last."""
    for face in range(corners.shape[1]):
        i, j, k = _corners_of(corners, face)
        a, b, c = coordinate[i], coordinate[j], coordinate[k]
        least, most = min(a, b, c), max(a, b, c)
        # written so that a coordinate that is not a number leaves whole numbers inside the image
        first[face] = np.ceil(least if least > 0.0 else 0.0)
        last[face] = np.floor(most if most < size - 1.0 else size - 1.0)


@compiled
def _sort(left, right, top, bottom, single, several):
    """Ids of the triangles with one candidate pixel and of those with more, ascending; returns how many of each."""
    n_single, n_several = 0, 0
    for face in range(left.shape[0]):
        some = (left[face] <= right[face]) & (top[face] <= bottom[face])
        one = (left[face] == right[face]) & (top[face] == bottom[face])
        single[n_single] = face
        several[n_several] = face
        n_single += some & one
        n_several += some & (not one)
    return n_single, n_several


@compiled
def _cover(u, v, z, corners, faces, left, top, cull_back, inverse_depth):
    """Inverse depth of each triangle at its one candidate pixel, or -1 where it does not cover the centre."""
    for n in range(faces.shape[0]):
        face = faces[n]
        i, j, k = _corners_of(corners, face)
        inverse_depth[n] = _inverse_depth(
            u[i], v[i], z[i], u[j], v[j], z[j], u[k], v[k], z[k], left[face], top[face], cull_back
        )


@compiled
def _inverse_depth(u0, v0, z0, u1, v1, z1, u2, v2, z2, x, y, cull_back):
    """Inverse depth of a triangle at the pixel centre (x, y), or -1 where it is not seen there."""
    e0, e1, e2 = edges(u0 - x, v0 - y, u1 - x, v1 - y, u2 - x, v2 - y)
    front = (e0 <= 0.0) & (e1 <= 0.0) & (e2 <= 0.0)
    back = (e0 >= 0.0) & (e1 >= 0.0) & (e2 >= 0.0) & (not cull_back)
    in_front = (z0 > 0.0) & (z1 > 0.0) & (z2 > 0.0)
    finite = np.abs(u0 + u1 + u2 + v0 + v1 + v2 + z0 + z1 + z2) < np.inf
    inverse = (e0 * (z1 * z2) + e1 * (z2 * z0) + e2 * (z0 * z1)) / ((e0 + e1 + e2) * (z0 * z1 * z2))
    # without area it is not a number, and then never the nearest
    return inverse if (front | back) & in_front & finite else -1.0


@compiled
def _keep_covered(faces, inverse_depth, left, top, nearest, ids):
    """Merge the triangles with one candidate pixel: first list those that cover it, then compare depths."""
    covering = np.empty(inverse_depth.shape[0] + 1, np.int64)
    n_covering = 0
    for n in range(inverse_depth.shape[0]):
        covering[n_covering] = n
        n_covering += inverse_depth[n] > 0.0
    for n in covering[:n_covering]:
        _keep_nearest(nearest, ids, int(top[faces[n]]), int(left[faces[n]]), inverse_depth[n], faces[n])


@compiled
def _walk(u, v, z, corners, faces, left, right, top, bottom, cull_back, nearest, ids):
    """Draw each triangle over all pixels of its box."""
    for face in faces:
        i, j, k = _corners_of(corners, face)
        u0, v0, z0, u1, v1, z1, u2, v2, z2 = u[i], v[i], z[i], u[j], v[j], z[j], u[k], v[k], z[k]
        for y in range(int(top[face]), int(bottom[face]) + 1):
            for x in range(int(left[face]), int(right[face]) + 1):
                inverse = _inverse_depth(u0, v0, z0, u1, v1, z1, u2, v2, z2, x, y, cull_back)
                _keep_nearest(nearest, ids, y, x, inverse, face)


@compiled
def _keep_nearest(nearest, ids, y, x, inverse, face):
    """The nearest stays; at equal depth the lower id."""
    if inverse > nearest[y, x] or (inverse == nearest[y, x] and face < ids[y, x]):
        nearest[y, x] = inverse
        ids[y, x] = face
