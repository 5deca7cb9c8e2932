"""Masks as 8-bit pictures: 0 and 255, and values between them in soft masks."""

import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.errors import ImageError

THRESHOLD = 127
"""Of 8 bits: a pixel above is set."""


def validate_mask(mask: UInt8[np.ndarray, "H W"], location: object) -> UInt8[np.ndarray, "H W"]:
    """The mask. Raises ImageError, with the place of its file, where it is written as 0 and 1; all 0 is a mask."""
    if mask.max(initial=0) == 1:
        raise ImageError(f"{location}: the mask holds 0 and 1 only; write 0 and 255")
    return mask


def binarise_mask(mask: UInt8[np.ndarray, "H W"], location: object) -> Bool[np.ndarray, "H W"]:
    """Where the mask is set. Raises as `validate_mask`."""
    return validate_mask(mask, location) > THRESHOLD
