"""Admission of a picture: what it is by its content, how large by its header, how much work by its structure."""

import re
from typing import Final

import numpy as np
from jaxtyping import UInt8

from focus_ray.data.image_file import ImageLimits, read_image
from focus_ray.errors import ImageError
from focus_ray.serving.problems import Problem
from focus_ray.serving.settings import AdmissionSettings

_KINDS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_JPEG: Final = _KINDS[0]
_SCAN: Final = b"\xff\xda"
_TOO_LARGE: Final = re.compile(r"are more than the limit")


def admit(content: bytes, settings: AdmissionSettings) -> None:
    """Raises Problem for what must not be decoded. Nothing is allocated; large dimensions are refused by `decode`."""
    if not content:
        raise Problem("unprocessable", "the picture is empty; send a JPEG, PNG or WebP")
    webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    if not (webp or content.startswith(_KINDS)):
        raise Problem("unsupported_media", "the content is no JPEG, PNG or WebP; send one of those")
    # FF DA cannot occur within a scan's data, where FF is followed by 00 or a restart marker; in a comment or thumbnail
    # it may, which counts as a few scans more.
    if content.startswith(_JPEG) and content.count(_SCAN) > settings.scans:
        raise Problem("unprocessable", f"the JPEG has more than {settings.scans} scans; save it again")


def decode(content: bytes, settings: AdmissionSettings) -> UInt8[np.ndarray, "H W 3"]:
    """The picture, upright, RGB; its header is held against the limits before anything is decoded. Raises Problem."""
    admit(content, settings)
    limits = ImageLimits(megabytes=settings.body_megabytes, megapixels=settings.megapixels, side=settings.side)
    try:
        return read_image(content, limits)
    except ImageError as error:
        code = "too_large" if _TOO_LARGE.search(str(error)) else "unprocessable"
        raise Problem(code, str(error)) from None
