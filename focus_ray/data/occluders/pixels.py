"""Per-pixel arithmetic of the canvas as compiled kernels: several times as fast as whole-array expressions.

Canvases are float32 [H,W,3], masks and factors float32 [H,W], colours float32 [3].
"""

import numpy as np

from focus_ray.focus.render.numba_jit import jit


@jit
def uniform(size, colour):
    """Make a new square canvas of one colour."""
    output = np.empty((size, size, 3), np.float32)
    for y in range(size):
        for x in range(size):
            for c in range(3):
                output[y, x, c] = colour[c]
    return output


@jit
def blend_colour(rgb, mask, colour):
    """Make a new canvas: rgb + mask (colour - rgb), one colour for all pixels."""
    output = np.empty_like(rgb)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            weight = mask[y, x]
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] + weight * (colour[c] - rgb[y, x, c])
    return output


@jit
def blend_canvas(rgb, mask, other):
    """Make a new canvas: rgb + mask (other - rgb), pixel by pixel."""
    output = np.empty_like(rgb)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            weight = mask[y, x]
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] + weight * (other[y, x, c] - rgb[y, x, c])
    return output


@jit
def scale(rgb, factor):
    """Make a new canvas: rgb times one factor for each pixel."""
    output = np.empty_like(rgb)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] * factor[y, x]
    return output


@jit
def apply_slope(rgb, along_x, along_y):
    """Make a new canvas: rgb times 1 + along_x at the right and 1 + along_y at the lower edge, minus them opposite."""
    height, width = rgb.shape[:2]
    output = np.empty_like(rgb)
    for y in range(height):
        for x in range(width):
            rise = along_x * (2 * x / (width - 1) - 1) + along_y * (2 * y / (height - 1) - 1)
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] * (1 + rise)
    return output
