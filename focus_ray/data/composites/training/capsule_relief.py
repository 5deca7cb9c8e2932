"""Height and coverage of round bodies of tapered capsules, seen from far in front, as compiled kernels."""

import numpy as np

from focus_ray.focus.render.numba_jit import jit

EMPTY = np.float32(-1e9)
"""Height where there is no body."""


@jit
def draw_capsules(size, starts, ends, radii, groups, blend):
    """Draw the height [S,S] and the coverage [S,S] of capsules.

    The capsules of group 0 melt into each other, and all groups into group 0; other groups keep their seams.

    Args:
        size: side of the canvas, px.
        starts: first points [K,3], px; z towards the viewer.
        ends: last points [K,3].
        radii: radius at both points [K,2], px.
        groups: number of each capsule's group [K], from 0.
        blend: difference of heights [px] below which surfaces melt.
    """
    count = 0
    for k in range(groups.size):
        count = max(count, groups[k] + 1)
    heights = np.full((count, size, size), EMPTY, np.float32)
    cover = np.zeros((size, size), np.float32)
    for k in range(groups.size):
        group, largest = groups[k], max(radii[k, 0], radii[k, 1]) + 1
        x0, y0, z0, r0 = starts[k, 0], starts[k, 1], starts[k, 2], radii[k, 0]
        dx, dy, dz, dr = ends[k, 0] - x0, ends[k, 1] - y0, ends[k, 2] - z0, radii[k, 1] - r0
        square = max(dx * dx + dy * dy, 1e-9)
        top = int(max(np.floor(min(y0, y0 + dy) - largest), 0))
        bottom = int(min(np.ceil(max(y0, y0 + dy) + largest) + 1, size))
        left = int(max(np.floor(min(x0, x0 + dx) - largest), 0))
        right = int(min(np.ceil(max(x0, x0 + dx) + largest) + 1, size))
        area = heights[group, top:bottom, left:right], cover[top:bottom, left:right]
        points = np.array([x0 - left, y0 - top, z0, r0, dx, dy, dz, dr])
        _draw_capsule(area[0], area[1], points, square, blend if group == 0 else np.float32(0))
    result = np.empty((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            height = EMPTY
            for group in range(1, count):
                height = max(height, heights[group, y, x])
            result[y, x] = _melt(height, heights[0, y, x], blend)
    return result, cover


@jit
def _draw_capsule(heights, cover, points, square, blend):
    """Draw one capsule into its part of the canvas: first point, its radius, and what the last point has more."""
    x0, y0, z0, r0, dx, dy, dz, dr = points
    tilted = dz * dz > 0.3 * square  # then a sphere at an end may hide the bar
    for y in range(heights.shape[0]):
        for x in range(heights.shape[1]):
            t = min(max(((x - x0) * dx + (y - y0) * dy) / square, 0.0), 1.0)
            height = EMPTY
            for position in (t, 0.0, 1.0):
                inside, rise = _sphere(x - x0 - position * dx, y - y0 - position * dy, r0 + position * dr)
                cover[y, x] = max(cover[y, x], np.float32(min(max(inside + 0.5, 0.0), 1.0)))
                if inside > -0.5:
                    height = max(height, np.float32(z0 + position * dz + rise))
                if not tilted:
                    break
            if height > EMPTY:
                heights[y, x] = _melt(heights[y, x], height, blend)


@jit
def _sphere(across, down, radius):
    """How far inside a sphere's outline a point is, and the sphere's height there."""
    square = across * across + down * down
    return radius - np.sqrt(square), np.sqrt(max(radius * radius - square, 0.0))


@jit
def _melt(first, second, blend):
    """Larger of two heights, with a smooth transition."""
    near = max(blend - abs(first - second), np.float32(0))
    return max(first, second) + near * near / max(np.float32(4) * blend, np.float32(1e-6))


@jit
def light_surface(height, light, ambient):
    """Brightness [S,S] of a dull surface: ambient + (1 - ambient) cos of the angle to the light; 0 off the body.

    Args:
        height: height of the surface [S,S], px.
        light: direction to the light [3], of length 1.
        ambient: share of the light that comes from everywhere.
    """
    size = height.shape[0]
    output = np.zeros((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            here = height[y, x]
            if here <= np.float32(-1e8):
                continue
            left, right = height[y, max(x - 1, 0)], height[y, min(x + 1, size - 1)]
            above, below = height[max(y - 1, 0), x], height[min(y + 1, size - 1), x]
            across, down = _slope(left, here, right), _slope(above, here, below)
            length = np.sqrt(across * across + down * down + np.float32(1))
            lit = max((light[2] - light[0] * across - light[1] * down) / length, np.float32(0))
            output[y, x] = ambient + (np.float32(1) - ambient) * lit
    return output


@jit
def _slope(before, here, after):
    """Slope of a height at a point between two others; where one of them is off the body, towards the other."""
    if before <= np.float32(-1e8):
        return np.float32(0) if after <= np.float32(-1e8) else after - here
    return here - before if after <= np.float32(-1e8) else (after - before) * np.float32(0.5)
