"""Kernels of the nearest-point search.

A triangle is a row of 16 numbers, see surface.py. The search opens the boxes of the tree that may hold a nearer point
than the best so far, the nearer child first, so the result is exact. It starts from a triangle that was near before,
which saves most of the search.
"""

import numpy as np

from focus_ray.focus.render.numba_jit import jit_with_fma

_STACK = 128  # a tree of 2^60 leaves needs 61 places


@jit_with_fma
def _segment_parameter(dx, dy, dz, ex, ey, ez, inverse):
    """The share of the side e that lies before the point nearest to d."""
    share = (dx * ex + dy * ey + dz * ez) * inverse
    return min(1.0, max(0.0, share))


@jit_with_fma
def _squared_distance_to_triangle(t, x, y, z, best):
    """Squared distance to a triangle, and the shares v, w of its nearest point a + v (b - a) + w (c - a).

    If the triangle's plane is no nearer than `best`, it is the distance to the plane.
    """
    dx, dy, dz = x - t[0], y - t[1], z - t[2]
    p, q = dx * t[3] + dy * t[4] + dz * t[5], dx * t[6] + dy * t[7] + dz * t[8]
    if t[12] > 0.0:
        v, w = (p * t[11] - q * t[10]) * t[12], (q * t[9] - p * t[10]) * t[12]
        rx, ry, rz = dx - v * t[3] - w * t[6], dy - v * t[4] - w * t[7], dz - v * t[5] - w * t[8]
        square = rx * rx + ry * ry + rz * rz
        if square >= best or (v >= 0.0 and w >= 0.0 and v + w <= 1.0):
            return square, v, w
    v1 = min(1.0, max(0.0, p * t[13]))
    w2 = min(1.0, max(0.0, q * t[14]))
    ex, ey, ez = t[6] - t[3], t[7] - t[4], t[8] - t[5]
    w3 = _segment_parameter(dx - t[3], dy - t[4], dz - t[5], ex, ey, ez, t[15])
    least, v, w = np.inf, 0.0, 0.0
    for one_v, one_w in ((v1, 0.0), (0.0, w2), (1.0 - w3, w3)):
        rx = dx - one_v * t[3] - one_w * t[6]
        ry = dy - one_v * t[4] - one_w * t[7]
        rz = dz - one_v * t[5] - one_w * t[8]
        square = rx * rx + ry * ry + rz * rz
        if square < least:
            least, v, w = square, one_v, one_w
    return least, v, w


@jit_with_fma
def _squared_distance_to_box(box, x, y, z):
    """Squared distance to a box, 0 inside."""
    dx = max(0.0, max(box[0] - x, x - box[3]))
    dy = max(0.0, max(box[1] - y, y - box[4]))
    dz = max(0.0, max(box[2] - z, z - box[5]))
    return dx * dx + dy * dy + dz * dz


@jit_with_fma
def _search(boxes, triangles, in_leaf, x, y, z, place, nodes, bounds):
    """Place of the nearest triangle and the shares v, w of its nearest point; the search starts at `place`."""
    first_leaf = boxes.shape[0] // 2
    best, v, w = _squared_distance_to_triangle(triangles[place], x, y, z, np.inf)
    nodes[0], bounds[0], top = 1, 0.0, 1
    while top > 0:
        top -= 1
        if bounds[top] >= best:
            continue
        node = nodes[top]
        if node >= first_leaf:
            start = (node - first_leaf) * in_leaf
            for one in range(start, start + in_leaf):
                square, one_v, one_w = _squared_distance_to_triangle(triangles[one], x, y, z, best)
                if square < best:
                    best, v, w, place = square, one_v, one_w, one
            continue
        near, far = 2 * node, 2 * node + 1
        near_bound, far_bound = (
            _squared_distance_to_box(boxes[near], x, y, z),
            _squared_distance_to_box(boxes[far], x, y, z),
        )
        if far_bound < near_bound:
            near, far, near_bound, far_bound = far, near, far_bound, near_bound
        if far_bound < best:
            nodes[top], bounds[top] = far, far_bound
            top += 1
        if near_bound < best:
            nodes[top], bounds[top] = near, near_bound
            top += 1
    return place, v, w


@jit_with_fma
def nearest_points(boxes, triangles, in_leaf, points, closest, triangle_indices):
    """Write the point of the surface nearest to each point into `closest`.

    Args:
        boxes: boxes of the tree [nodes, 6], see surface.py.
        triangles: precomputed triangles [L, 16] in the order of the tree.
        in_leaf: number of triangles in a leaf.
        points: points [N, 3] in the mesh's frame and units.
        closest: nearest points [N, 3], output.
        triangle_indices: places of triangles [N]; input: where to start, 0: at the last point's; output: the nearest.
    """
    nodes, bounds = np.empty(_STACK, np.int64), np.empty(_STACK)
    place = 0
    for i in range(points.shape[0]):
        place = (
            triangle_indices[i] if triangle_indices[i] > 0 else place
        )  # the last point's triangle is likely to be near
        place, v, w = _search(boxes, triangles, in_leaf, points[i, 0], points[i, 1], points[i, 2], place, nodes, bounds)
        t = triangles[place]
        for axis in range(3):
            closest[i, axis] = t[axis] + v * t[3 + axis] + w * t[6 + axis]
        triangle_indices[i] = place
