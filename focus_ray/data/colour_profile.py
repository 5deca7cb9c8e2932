"""Conversion of a picture with an embedded ICC profile to sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 4_000_000  # bytes; profiles of printing presses have about two million
_MODES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "RGB"}  # source to target; other modes are not converted
_ROUNDING = 2  # of 255: a profile that changes no colour by more counts as sRGB
_PROBES = 9  # values of each channel in that test


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert a decoded picture to sRGB by its embedded profile.

    RGB, palette and 8-bit grey, each also with alpha, and CMYK are converted.

    Args:
        image: decoded picture.

    Returns:
        The picture in sRGB. The same picture if it has no profile; if the profile is sRGB's, damaged or larger than 4
        MB; if the profile's colour space is not that of the picture (a grey picture with an RGB profile); or if the
        picture has another mode.
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
    """Convert the grey of a picture and keep its alpha; returns the same picture if nothing changes."""
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
