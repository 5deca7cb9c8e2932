"""Checks of an uploaded picture: format by content, size by header, decoding cost by structure."""

from typing import Final

import numpy as np
from jaxtyping import UInt8

from focus_ray.data.image_file import ImageLimits, read_image, read_size
from focus_ray.errors import ImageError, ImageTooLarge
from focus_ray.serving.problems import Problem
from focus_ray.serving.settings import AdmissionSettings

_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SCAN: Final = b"\xff\xda"
_START_OF_SCAN: Final = 0xDA
_STANDALONE_MARKERS: Final = {0x01, *range(0xD0, 0xDA)}  # markers without a length
# Pillow parses and stores each segment or chunk in Python, and millions of empty ones fit into a body. A segment holds
# up to 64 KB; most programs write chunks of 8 KB.
_MAX_SEGMENTS: Final = 1000
_MAX_CHUNKS: Final = 20_000


def check_image(content: bytes, settings: AdmissionSettings) -> None:
    """Check format and structure of an encoded picture, without decoding it; `decode` checks the dimensions.

    Args:
        content: bytes of the file.
        settings: limits.

    Raises:
        Problem: the content is empty, not a JPEG, PNG or WebP, or has too many scans, segments or chunks.
    """
    if not content:
        raise Problem("unprocessable", "the picture is empty; send a JPEG, PNG or WebP")
    webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    if not (webp or content.startswith((_JPEG, _PNG))):
        raise Problem("unsupported_media", "the content is not a JPEG, PNG or WebP; send one of those")
    # FF DA cannot occur within the data of a scan, where FF is followed by 00 or a restart marker. Occurrences in a
    # comment or thumbnail count as a few more scans.
    if content.startswith(_JPEG) and content.count(_SCAN) > settings.scans:
        raise Problem("unprocessable", f"the JPEG has more than {settings.scans} scans; save it again")
    if content.startswith(_JPEG) and not _has_few_segments(content):
        raise Problem("unprocessable", f"the JPEG's header has more than {_MAX_SEGMENTS} segments; save it again")
    if content.startswith(_PNG) and not _has_few_chunks(content):
        raise Problem("unprocessable", f"the PNG has more than {_MAX_CHUNKS} chunks; save it again")


def megapixels(content: bytes, settings: AdmissionSettings) -> float:
    """Return the size of a picture in megapixels, from its header.

    Args:
        content: bytes of the file.
        settings: limits.

    Raises:
        Problem: the picture exceeds a limit, or its header cannot be read.
    """
    check_image(content, settings)
    try:
        width, height = read_size(content, _limits(settings))
    except ImageError as error:
        raise _problem(error) from None
    return width * height / 1e6


def decode(content: bytes, settings: AdmissionSettings) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a picture after checking its header against the limits.

    Args:
        content: bytes of the file.
        settings: limits.

    Returns:
        RGB, upright (EXIF orientation applied).

    Raises:
        Problem: the picture exceeds a limit, or cannot be decoded.
    """
    check_image(content, settings)
    try:
        return read_image(content, _limits(settings))
    except ImageError as error:
        raise _problem(error) from None


def _limits(settings: AdmissionSettings) -> ImageLimits:
    return ImageLimits(megabytes=settings.body_megabytes, megapixels=settings.megapixels, side=settings.side)


def _problem(error: ImageError) -> Problem:
    return Problem("too_large" if isinstance(error, ImageTooLarge) else "unprocessable", str(error))


def _has_few_segments(content: bytes) -> bool:
    """Return whether the first scan or the end of a JPEG follows within `_MAX_SEGMENTS` segments or stray bytes."""
    at = 2
    for _ in range(_MAX_SEGMENTS + 1):
        if at + 4 > len(content):
            return True
        marker = content[at + 1]
        if content[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker == _START_OF_SCAN:
            return True
        elif marker in _STANDALONE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False


def _has_few_chunks(content: bytes) -> bool:
    """Return whether a PNG has fewer than `_MAX_CHUNKS` chunks."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS + 1):
        if at + 4 > len(content):
            return True
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return False
