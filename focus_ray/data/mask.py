"""Masks as 8-bit pictures: 0 and 255, and values between them in soft masks."""

import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.data.align import Crop
from focus_ray.errors import ImageError

THRESHOLD = 127
"""Pixels of an 8-bit mask above this value are set."""

_WHITE = 255


def validate_mask(mask: UInt8[np.ndarray, "H W"], location: object) -> UInt8[np.ndarray, "H W"]:
    """Check that a mask is not written as 0 and 1; an all-zero mask is valid.

    Args:
        mask: 8-bit mask.
        location: place of the mask's file, for messages.

    Returns:
        The same mask.

    Raises:
        ImageError: the mask holds 0 and 1 only.
    """
    if mask.max(initial=0) == 1:
        raise ImageError(f"{location}: the mask holds 0 and 1 only; write 0 and 255")
    return mask


def binarise_mask(mask: UInt8[np.ndarray, "H W"], location: object) -> Bool[np.ndarray, "H W"]:
    """Threshold an 8-bit mask.

    Args:
        mask: 8-bit mask.
        location: place of the mask's file, for messages.

    Returns:
        True where the mask is above THRESHOLD.

    Raises:
        ImageError: the mask holds 0 and 1 only.
    """
    return validate_mask(mask, location) > THRESHOLD


def warp_mask(crop: Crop, mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "S S"]:
    """Warp a mask of the picture to the pixels of a crop."""
    white = mask.astype(np.uint8) * np.uint8(_WHITE)
    return crop.warp(white) > THRESHOLD
