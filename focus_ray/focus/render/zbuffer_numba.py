"""The kernel of the z-buffer: which triangle is nearest in each pixel.

A triangle of a fine mesh covers about one pixel centre, often none, which a branch predictor cannot predict. So the
work is done in passes over blocks of triangles, and the loops that discard triangles have no branch; the triangles that
are left are drawn pixel by pixel. Arithmetic is in double, in the same order as in the torch back end.
"""

import numpy as np

from focus_ray.focus.render.numba_jit import jit

# Triangles per pass: the arrays between the passes (about 300 kB) fit into a core's own cache.
_BLOCK = 2048
# Triangles with at most this many pixel centres in their box are tested without a branch, larger ones pixel by pixel.
_SMALL = 4


@jit
def edge_functions(x0, y0, x1, y1, x2, y2):
    """Compute twice the signed areas that the pixel spans with each side: exactly antisymmetric in the side's ends.

    Args:
        x0: u of the first vertex relative to the pixel centre, px.
        y0: v of the first vertex, likewise.
        x1: u of the second vertex.
        y1: v of the second vertex.
        x2: u of the third vertex.
        y2: v of the third vertex.

    Returns:
        (e0, e1, e2), px^2; e_i belongs to the side opposite to vertex i.
    """
    return x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1


@jit
def rasterize_images(first, last, vertices, corners, cull_back, ids):
    """Write the id of the nearest triangle of each pixel of some images.

    Args:
        first: first image.
        last: one after the last image.
        vertices: [B, V, 3], (u px, v px, z mm).
        corners: [3, F], vertex indices of the triangles.
        cull_back: leave out triangles that wind clockwise on the screen.
        ids: [B, H, W], written in place; -1 where there is no triangle.
    """
    n_vertices, n_faces = vertices.shape[1], corners.shape[1]
    nearest = np.empty(ids.shape[1:])  # inverse depth, 1/mm
    u, v, z = np.empty(n_vertices), np.empty(n_vertices), np.empty(n_vertices)
    for image in range(first, last):
        nearest[:] = 0.0
        ids[image] = -1
        u[:], v[:], z[:] = vertices[image, :, 0], vertices[image, :, 1], vertices[image, :, 2]
        for start in range(0, n_faces, _BLOCK):
            _draw_block(u, v, z, corners, start, min(start + _BLOCK, n_faces), cull_back, nearest, ids[image])


@jit
def _draw_block(u, v, z, corners, start, stop, cull_back, nearest, ids):
    """Merge the triangles start..stop - 1 into one image's z-buffer."""
    size = stop - start
    left, right, top, bottom = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    several = np.empty(size + 1, np.int64)
    # candidates: a triangle's place in the block and a pixel centre that it may cover
    place, x, y = np.empty(_SMALL * size + 1, np.int64), np.empty(_SMALL * size + 1), np.empty(_SMALL * size + 1)
    height, width = ids.shape
    boxes = left, right, top, bottom
    n, n_several = _bounding_boxes(u, v, corners, start, width, height, boxes, several, place, x, y)
    n, n_large = _expand_small_boxes(boxes, several, n_several, place, x, y, n)
    n = _keep_covering(u, v, corners, start, place, x, y, n, cull_back)
    _draw_candidates(u, v, z, corners, start, place, x, y, n, cull_back, nearest, ids)
    _draw_large_boxes(u, v, z, corners, start, several[:n_large], boxes, cull_back, nearest, ids)


@jit
def _face_vertices(corners, face):
    """The triangle's vertices, unsigned: an index that cannot be negative is read without a wrap-around."""
    return np.uintp(corners[0, face]), np.uintp(corners[1, face]), np.uintp(corners[2, face])


@jit
def _extent(a, b, c, size):
    """First and last pixel centre between three coordinates, inside the image; none where first > last."""
    least, most = min(a, b, c), max(a, b, c)
    # written so that NaN coordinates give whole numbers inside the image
    return np.ceil(least if least > 0.0 else 0.0), np.floor(most if most < size - 1.0 else size - 1.0)


@jit
def _bounding_boxes(u, v, corners, start, width, height, boxes, several, place, x, y):
    """Compute the box of every triangle; return the numbers of candidates and of triangles in `several`.

    A box with one pixel centre becomes a candidate; a triangle whose box has more is added to `several`.
    """
    left, right, top, bottom = boxes
    n_single, n_several = 0, 0
    for n in range(left.shape[0]):
        i, j, k = _face_vertices(corners, start + n)
        left[n], right[n] = _extent(u[i], u[j], u[k], width)
        top[n], bottom[n] = _extent(v[i], v[j], v[k], height)
        some = (left[n] <= right[n]) & (top[n] <= bottom[n])
        one = (left[n] == right[n]) & (top[n] == bottom[n])
        place[n_single], x[n_single], y[n_single] = n, left[n], top[n]
        several[n_several] = n
        n_single += some & one
        n_several += some & (not one)
    return n_single, n_several


@jit
def _expand_small_boxes(boxes, several, n_several, place, x, y, n):
    """Append the pixels of small boxes to the n candidates, keep large ones in `several`; return both numbers."""
    left, right, top, bottom = boxes
    n_large = 0
    for here in several[:n_several]:
        if (right[here] - left[here] + 1.0) * (bottom[here] - top[here] + 1.0) > _SMALL:
            several[n_large] = here
            n_large += 1
            continue
        for row in range(int(top[here]), int(bottom[here]) + 1):
            for column in range(int(left[here]), int(right[here]) + 1):
                place[n], x[n], y[n] = here, column, row
                n += 1
    return n, n_large


@jit
def _keep_covering(u, v, corners, start, place, x, y, n, cull_back):
    """Move the candidates whose triangle covers their pixel centre to the front; return their number."""
    n_covering = 0
    for candidate in range(n):
        i, j, k = _face_vertices(corners, start + place[candidate])
        px, py = x[candidate], y[candidate]
        e0, e1, e2 = edge_functions(u[i] - px, v[i] - py, u[j] - px, v[j] - py, u[k] - px, v[k] - py)
        place[n_covering], x[n_covering], y[n_covering] = place[candidate], px, py
        n_covering += _inside(e0, e1, e2, cull_back)
    return n_covering


@jit
def _inside(e0, e1, e2, cull_back):
    """Return whether the pixel centre lies inside the triangle or on its edge, seen from a side that is drawn."""
    front = (e0 <= 0.0) & (e1 <= 0.0) & (e2 <= 0.0)
    back = (e0 >= 0.0) & (e1 >= 0.0) & (e2 >= 0.0) & (not cull_back)
    return front | back


@jit
def _inverse_depth(u0, v0, z0, u1, v1, z1, u2, v2, z2, x, y, cull_back):
    """Inverse depth of a triangle at the pixel centre (x, y), or -1 where it is not seen there."""
    e0, e1, e2 = edge_functions(u0 - x, v0 - y, u1 - x, v1 - y, u2 - x, v2 - y)
    in_front = (z0 > 0.0) & (z1 > 0.0) & (z2 > 0.0)
    finite = np.abs(u0 + u1 + u2 + v0 + v1 + v2 + z0 + z1 + z2) < np.inf
    inverse = (e0 * (z1 * z2) + e1 * (z2 * z0) + e2 * (z0 * z1)) / ((e0 + e1 + e2) * (z0 * z1 * z2))
    # NaN for a triangle without area, which is then never nearest
    return inverse if _inside(e0, e1, e2, cull_back) & in_front & finite else -1.0


@jit
def _draw_candidates(u, v, z, corners, start, place, x, y, n, cull_back, nearest, ids):
    """Draw the first n candidates."""
    for candidate in range(n):
        face = start + place[candidate]
        i, j, k = _face_vertices(corners, face)
        px, py = x[candidate], y[candidate]
        inverse = _inverse_depth(u[i], v[i], z[i], u[j], v[j], z[j], u[k], v[k], z[k], px, py, cull_back)
        _keep_nearest(nearest, ids, int(py), int(px), inverse, face)


@jit
def _draw_large_boxes(u, v, z, corners, start, large, boxes, cull_back, nearest, ids):
    """Draw each triangle over all pixels of its box."""
    left, right, top, bottom = boxes
    for place in large:
        face = start + place
        i, j, k = _face_vertices(corners, face)
        u0, v0, z0, u1, v1, z1, u2, v2, z2 = u[i], v[i], z[i], u[j], v[j], z[j], u[k], v[k], z[k]
        for y in range(int(top[place]), int(bottom[place]) + 1):
            for x in range(int(left[place]), int(right[place]) + 1):
                inverse = _inverse_depth(u0, v0, z0, u1, v1, z1, u2, v2, z2, x, y, cull_back)
                _keep_nearest(nearest, ids, y, x, inverse, face)


@jit
def _keep_nearest(nearest, ids, y, x, inverse, face):
    """Write the triangle into the z-buffer if it is nearest; at equal depth the lower id wins."""
    if inverse > nearest[y, x] or (inverse == nearest[y, x] and face < ids[y, x]):
        nearest[y, x] = inverse
        ids[y, x] = face
