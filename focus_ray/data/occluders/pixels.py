"""Per-pixel arithmetic of the canvas as compiled kernels: several times as fast as whole-array expressions.

Canvases are float32 [H,W,3], masks and factors float32 [H,W], colours float32 [3]; all contiguous. Every kernel does
the operations of its formula in float32 (`apply_slope` in float64), in the order written.
"""

import numpy as np

from focus_ray.focus.render.numba_jit import jit

_ZERO, _ONE, _HALF, _LEVELS = np.float32(0), np.float32(1), np.float32(0.5), np.float32(255)
_TO_UNIT = np.float32(1 / 255)


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
def mix(first, second, weight):
    """Make a new canvas: first + weight (second - first), two colours."""
    height, width = weight.shape
    output = np.empty((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                output[y, x, c] = first[c] + weight[y, x] * (second[c] - first[c])
    return output


@jit
def tint(colour, factor):
    """Make a new canvas: one colour times one factor for each pixel."""
    height, width = factor.shape
    output = np.empty((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                output[y, x, c] = colour[c] * factor[y, x]
    return output


@jit
def add_grain(rgb, grain, amount):
    """Make a new canvas: rgb + amount grain, the same for all channels."""
    output = np.empty_like(rgb)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            value = amount * grain[y, x]
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] + value
    return output


@jit
def blend_colour(rgb, mask, colour):
    """Make a new canvas: rgb + mask (colour - rgb), one colour for all pixels."""
    output = rgb.copy()
    for y in range(rgb.shape[0]):
        first, last = _covered(mask[y])
        for x in range(first, last):
            weight = mask[y, x]
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] + weight * (colour[c] - rgb[y, x, c])
    return output


@jit
def blend_canvas(rgb, mask, other):
    """Make a new canvas: rgb + mask (other - rgb), pixel by pixel."""
    output = rgb.copy()
    for y in range(rgb.shape[0]):
        first, last = _covered(mask[y])
        for x in range(first, last):
            weight = mask[y, x]
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] + weight * (other[y, x, c] - rgb[y, x, c])
    return output


@jit
def blend_clipped(rgb, mask, other):
    """Make a new canvas like `blend_canvas`, with the upper canvas clipped to [0, 1]."""
    output = rgb.copy()
    for y in range(rgb.shape[0]):
        first, last = _covered(mask[y])
        for x in range(first, last):
            weight = mask[y, x]
            for c in range(3):
                top = min(max(other[y, x, c], _ZERO), _ONE)
                output[y, x, c] = rgb[y, x, c] + weight * (top - rgb[y, x, c])
    return output


@jit
def _covered(row):
    """First and last + 1 of the pixels of a row that are not 0."""
    bits = row.view(np.int32)
    any_bit = np.int32(0)
    for x in range(bits.size):  # integers: vectorised, unlike a search
        any_bit |= bits[x]
    first, last = 0, bits.size
    if any_bit == 0:
        return 0, 0
    while bits[first] == 0:
        first += 1
    while bits[last - 1] == 0:
        last -= 1
    return first, last


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
def shade(rgb, distance, width, base, depth):
    """Make a new canvas: rgb times base + depth sqrt(distance / width), where the root is at most 1."""
    output = np.empty_like(rgb)
    factor = np.empty(rgb.shape[1], np.float32)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            factor[x] = base + depth * np.sqrt(min(max(distance[y, x] / width, _ZERO), _ONE))
        for x in range(rgb.shape[1]):
            for c in range(3):
                output[y, x, c] = rgb[y, x, c] * factor[x]
    return output


@jit
def apply_slope(rgb, along_x, along_y):
    """Make a new canvas: rgb times 1 + along_x at the right and 1 + along_y at the lower edge, minus them opposite."""
    height, width = rgb.shape[:2]
    output = np.empty_like(rgb)
    across = np.empty((width, 3), np.float64)
    for x in range(width):
        across[x] = along_x * (2 * x / (width - 1) - 1)
    values, results, rises = rgb.reshape(height, -1), output.reshape(height, -1), across.reshape(-1)
    for y in range(height):
        down = along_y * (2 * y / (height - 1) - 1)
        for j in range(rises.size):
            results[y, j] = values[y, j] * (1 + (rises[j] + down))
    return output


@jit
def to_unit_range(canvas):
    """Make a mask in [0, 1] of an 8-bit one."""
    output = np.empty(canvas.shape, np.float32)
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            output[y, x] = np.float32(canvas[y, x]) * _TO_UNIT
    return output


@jit
def above_half(mask):
    """Make an 8-bit mask: 1 above 0.5, else 0."""
    output = np.empty(mask.shape, np.uint8)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            output[y, x] = mask[y, x] > _HALF
    return output


@jit
def to_fixed_point(points, limit, factor):
    """Make rounded integers [N,1,2] of factor times points [N,2], which are clipped to +-limit first."""
    output = np.empty((points.shape[0], 1, 2), np.int32)
    for n in range(points.shape[0]):
        for axis in range(2):
            output[n, 0, axis] = np.int32(np.rint(min(max(points[n, axis], -limit), limit) * factor))
    return output


@jit
def to_8_bits(picture, noise, amount):
    """Make 8-bit levels of picture + amount noise, rounded and clipped."""
    output = np.empty(picture.shape, np.uint8)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            for c in range(picture.shape[2]):
                level = (picture[y, x, c] + amount * noise[y, x, c]) * _LEVELS + _HALF
                output[y, x, c] = np.uint8(min(max(level, _ZERO), _LEVELS))
    return output


@jit
def count_above(region, mask, threshold):
    """Count the pixels of a region where the mask is above a threshold."""
    count = 0
    for y in range(region.shape[0]):
        for x in range(region.shape[1]):
            count += (region[y, x] > _ZERO) & (mask[y, x] > threshold)
    return count
