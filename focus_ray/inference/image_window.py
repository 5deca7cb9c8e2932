"""The window of an image that the crop of a face covers, and values of the crop at the pixels of that window."""

import numpy as np
from jaxtyping import Float

from focus_ray.data.align import Crop, compose

Window = tuple[slice, slice]
"""Rows and columns of an image."""


def crop_window(crop: Crop, height: int, width: int) -> Window:
    """Return the window of an image that a crop covers; one pixel if it covers none.

    Args:
        crop: the crop.
        height: of the image, px.
        width: of the image, px.
    """
    end = float(crop.size)
    corners = np.array([[-1.0, -1.0], [end, -1.0], [end, end], [-1.0, end]])
    reached = crop.to_image(corners)
    low = np.floor(reached.min(axis=0)).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(reached.max(axis=0) + 1).clip(low + 1, [width, height]).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    return slice(top, bottom), slice(left, right)


def window_shape(window: Window) -> tuple[int, int]:
    """Return height and width of a window, px."""
    rows, columns = window
    return rows.stop - rows.start, columns.stop - columns.start


def window_crop(crop: Crop, window: Window) -> Crop:
    """Return the same crop of the window instead of the image: its transform takes px of the window."""
    rows, columns = window
    return Crop(compose(crop.matrix, np.array([[1.0, 0.0, columns.start], [0.0, 1.0, rows.start]])), crop.size)


def warp_to_window(values: Float[np.ndarray, "S S"], crop: Crop, window: Window) -> Float[np.ndarray, "h w"]:
    """Warp values of a crop to the pixels of a window: bilinear, zero outside of the crop.

    Args:
        values: values of the crop.
        crop: the crop of the image.
        window: window of the image.

    Returns:
        The values at the pixels of the window.
    """
    return window_crop(crop, window).to_image_mask(values, *window_shape(window))
