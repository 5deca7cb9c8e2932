"""The kernel of the z-buffer: which triangle is nearest in each pixel.

A triangle of a fine mesh covers about one pixel centre, often none, which a branch predictor cannot predict. So the
work is done in passes over blocks of triangles, and what is discarded is discarded without a branch: a list is written
at its end for every candidate, and its length grows only by those that are kept. Arithmetic is in double, in the same
order as in the torch back end.
"""

import numpy as np

from focus_ray.focus.render.numba_jit import inner_jit, jit

# Triangles per pass, and covered pixels between two merges into the z-buffer: the lists fit into a core's own cache.
_BLOCK = 2048
# Twice the signed area, px^2, above which a triangle winds clockwise whatever the rounding.
_CLOCKWISE = 1e-6


@inner_jit
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
        corners: [F, 3], vertex indices of the triangles.
        cull_back: leave out triangles that wind clockwise on the screen.
        ids: [B, H, W], written in place; -1 where there is no triangle.
    """
    nearest = np.empty(ids.shape[1:])
    points = np.empty((vertices.shape[1], 4))
    for image in range(first, last):
        rasterize_image(vertices[image], corners, cull_back, points, nearest, ids[image])


@inner_jit
def rasterize_image(vertices, corners, cull_back, points, nearest, ids):
    """Write the id of the nearest triangle of each pixel of one image.

    Args:
        vertices: [V, 3], (u px, v px, z mm).
        corners: [F, 3], vertex indices of the triangles.
        cull_back: leave out triangles that wind clockwise on the screen.
        points: [V, 4], double, overwritten.
        nearest: [H, W], double, overwritten with the inverse depth of the nearest triangle, 1/mm, 0 for none.
        ids: [H, W], written in place; -1 where there is no triangle.
    """
    _copy_points(vertices, points)
    _draw(points, corners, cull_back, nearest, ids)


@inner_jit
def _draw(points, corners, cull_back, nearest, ids):
    """Draw vertices in double, whatever their type was: this much is compiled once for all types."""
    nearest[:] = 0.0
    ids[:] = -1
    flat_nearest, flat_ids, width, height = nearest.ravel(), ids.ravel(), ids.shape[1], ids.shape[0]
    boxes, single, several = np.empty((_BLOCK, 4)), np.empty(_BLOCK + 1, np.int64), np.empty(_BLOCK + 1, np.int64)
    depth = np.empty(_BLOCK + 2 * width + 4)
    pixel, face = np.empty(len(depth), np.int64), np.empty(len(depth), np.int64)
    covered = depth, pixel, face
    for start in range(0, corners.shape[0], _BLOCK):
        stop = min(start + _BLOCK, corners.shape[0])
        n_single, n_several = _bounding_boxes(
            points, corners, start, stop, width, height, cull_back, boxes, single, several
        )
        n = _cover_single(points, corners, start, single[:n_single], boxes, width, cull_back, covered)
        _merge(covered, np.uintp(n), flat_nearest, flat_ids)
        _draw_boxes(
            points, corners, start, several[:n_several], boxes, width, cull_back, covered, flat_nearest, flat_ids
        )


@inner_jit
def _copy_points(vertices, points):
    """Copy (u, v, z); u becomes NaN where a triangle with this vertex must not be drawn."""
    for vertex in range(np.uintp(vertices.shape[0])):
        u, v, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
        drawable = (z > 0.0) & (np.abs(u + v + z) < np.inf)
        points[vertex, 0], points[vertex, 1], points[vertex, 2] = u if drawable else np.nan, v, z


@inner_jit
def _triangle(points, corners, face):
    """u, v, z of a triangle's three vertices."""
    # unsigned: an index that cannot be negative is read without a wrap-around
    row = np.uintp(face)
    i, j, k = np.uintp(corners[row, 0]), np.uintp(corners[row, 1]), np.uintp(corners[row, 2])
    return (
        points[i, 0], points[i, 1], points[i, 2],
        points[j, 0], points[j, 1], points[j, 2],
        points[k, 0], points[k, 1], points[k, 2],
    )  # fmt: skip


@inner_jit
def _extent(a, b, c, last):
    """First and last pixel centre between three coordinates, inside the image; none where first > last."""
    least, most = min(a, b, c), max(a, b, c)
    zero = last - last
    # written so that NaN coordinates give whole numbers inside the image
    return np.ceil(least if least > zero else zero), np.floor(most if most < last else last)


@inner_jit
def _bounding_boxes(points, corners, start, stop, width, height, cull_back, boxes, single, several):
    """Compute the box of every triangle; return the lengths of the two lists.

    `single` gets the triangles with one pixel centre in their box, `several` those with more.
    """
    n_single, n_several = 0, 0
    last_column, last_row = np.float64(width - 1), np.float64(height - 1)
    for place in range(np.uintp(stop - start)):
        u0, v0, _, u1, v1, _, u2, v2, _ = _triangle(points, corners, start + place)
        left, right = _extent(u0, u1, u2, last_column)
        top, bottom = _extent(v0, v1, v2, last_row)
        boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3] = left, right, top, bottom
        area = (u1 - u0) * (v2 - v0) - (v1 - v0) * (u2 - u0)
        drawn = area <= _CLOCKWISE if cull_back else np.abs(area) < np.inf  # false for NaN
        some = drawn & (left <= right) & (top <= bottom)
        one = (left == right) & (top == bottom)
        single[n_single] = place
        several[n_several] = place
        n_single += some & one
        n_several += some & (not one)
    return n_single, n_several


@inner_jit
def _inside(e0, e1, e2, cull_back):
    """Return whether the pixel centre lies inside the triangle or on its edge, seen from a side that is drawn."""
    front = (e0 <= 0.0) & (e1 <= 0.0) & (e2 <= 0.0)
    back = (e0 >= 0.0) & (e1 >= 0.0) & (e2 >= 0.0) & (not cull_back)
    return front | back


@inner_jit
def _cover_single(points, corners, start, single, boxes, width, cull_back, covered):
    """List the triangles that cover the only pixel centre in their box; return the length of the list."""
    depth, pixel, face = covered
    n = 0
    for place in single:
        u0, v0, z0, u1, v1, z1, u2, v2, z2 = _triangle(points, corners, start + place)
        x, y = boxes[place, 0], boxes[place, 2]
        e0, e1, e2 = edge_functions(u0 - x, v0 - y, u1 - x, v1 - y, u2 - x, v2 - y)
        inverse = (e0 * (z1 * z2) + e1 * (z2 * z0) + e2 * (z0 * z1)) / ((e0 + e1 + e2) * (z0 * z1 * z2))
        depth[n], pixel[n], face[n] = inverse, np.int64(y) * width + np.int64(x), start + place
        n += _inside(e0, e1, e2, cull_back)
    return n


@inner_jit
def _draw_boxes(points, corners, start, several, boxes, width, cull_back, covered, flat_nearest, flat_ids):
    """Draw triangles with several pixel centres in their box."""
    depth, pixel, face = covered
    n = np.uintp(0)
    for place in several:
        u0, v0, z0, u1, v1, z1, u2, v2, z2 = _triangle(points, corners, start + place)
        z12, z20, z01, z012 = z1 * z2, z2 * z0, z0 * z1, z0 * z1 * z2
        left, right, top, bottom = boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3]
        y = np.float64(top)
        # two rows and two columns at once: most boxes are that small, so that their loops end as predicted
        while y <= bottom:
            if n > _BLOCK:
                _merge(covered, n, flat_nearest, flat_ids)
                n = np.uintp(0)
            x = np.float64(left)
            while x <= right:
                for dy in range(2):
                    row = y + dy
                    y0, y1, y2 = v0 - row, v1 - row, v2 - row
                    for dx in range(2):
                        column = x + dx
                        e0, e1, e2 = edge_functions(u0 - column, y0, u1 - column, y1, u2 - column, y2)
                        depth[n] = (e0 * z12 + e1 * z20 + e2 * z01) / ((e0 + e1 + e2) * z012)
                        pixel[n], face[n] = np.int64(row) * width + np.int64(column), start + place
                        n += np.uintp(_inside(e0, e1, e2, cull_back) & (column <= right) & (row <= bottom))
                x += 2.0
            y += 2.0
    _merge(covered, n, flat_nearest, flat_ids)


@inner_jit
def _merge(covered, n, flat_nearest, flat_ids):
    """Write the first n of the list into the z-buffer; at equal depth the lower id wins."""
    depth, pixel, face = covered
    for place in range(np.uintp(n)):
        inverse, here = depth[place], np.uintp(pixel[place])  # NaN for a triangle without area: never nearest
        if inverse > flat_nearest[here] or (inverse == flat_nearest[here] and face[place] < flat_ids[here]):
            flat_nearest[here], flat_ids[here] = inverse, face[place]
