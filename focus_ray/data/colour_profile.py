"""The colours of a picture as sRGB: an embedded ICC profile says what its numbers mean."""

import io

import numpy as np
from PIL import Image, ImageCms

_LARGEST_PROFILE = 4_000_000  # bytes; those of printing presses have about two million
_MODES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}  # from what to what; others are read as they are
_ROUNDING = 2  # of 255: a profile that changes no colour by more is sRGB itself
_PROBES = 9  # values of each channel that are looked at for that


def in_srgb(image: Image.Image) -> Image.Image:
    """A decoded RGB, RGBA or CMYK picture in sRGB, by its embedded profile.

    The same picture where there is no profile, where it is sRGB's, damaged, larger than 4 MB, or of another mode.
    """
    profile = image.info.get("icc_profile")
    if not profile or len(profile) > _LARGEST_PROFILE or image.mode not in _MODES:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = _MODES[image.mode]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, target)
        if image.mode != "CMYK" and _changes_nothing(transform, image.mode):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    values = np.linspace(0, 255, _PROBES).astype(np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(grid).convert(mode)
    shown = ImageCms.applyTransform(probe, transform)
    difference = np.asarray(shown, np.int16) - np.asarray(probe, np.int16)
    return bool(np.abs(difference).max() <= _ROUNDING)
