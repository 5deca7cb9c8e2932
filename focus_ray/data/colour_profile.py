"""Conversion of a picture with an embedded ICC profile to sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 4_000_000  # bytes; those of printing presses have about two million
_MODES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "RGB"}  # from what to what; others are read as they are
_ROUNDING = 2  # of 255: a profile that changes no colour by more is sRGB itself
_PROBES = 9  # values of each channel that are looked at for that


def to_srgb(image: Image.Image) -> Image.Image:
    """A decoded picture in sRGB, by its embedded profile: RGB, palette, grey (8 bits), these with alpha too, or CMYK.

    The same picture where there is no profile, where it is sRGB's, damaged or larger than 4 MB, and where its colour
    space is not that of the numbers (a grey picture with an RGB profile) or the picture has another mode.
    """
    profile = image.info.get("icc_profile")
    if not profile or len(profile) > _MAX_PROFILE_BYTES:
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "LA" or (image.mode == "L" and image.has_transparency_data):
        return _convert_with_alpha(image)
    return _convert(image, profile)


def _convert_with_alpha(image: Image.Image) -> Image.Image:
    """A grey picture with alpha: its grey converted, its alpha as it is; the same picture where nothing changes."""
    grey, alpha = image.convert("LA").split()
    colours = _convert(grey, image.info["icc_profile"])
    if colours is grey:
        return image
    colours.putalpha(alpha)
    colours.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return colours


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    if image.mode not in _MODES:
        return image
    target = _MODES[image.mode]
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, target)
        if image.mode != "CMYK" and _is_identity(transform, image.mode, target):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str, target: str) -> bool:
    values = np.linspace(0, 255, _PROBES).astype(np.uint8)
    grid = np.stack([values] * 3 if mode == "L" else np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(grid).convert(mode)
    shown = ImageCms.applyTransform(probe, transform)
    difference = np.asarray(shown, np.int16) - np.asarray(probe.convert(target), np.int16)
    return bool(np.abs(difference).max() <= _ROUNDING)
