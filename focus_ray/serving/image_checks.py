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
# Pillow looks at each in Python, and remembers it: millions of empty ones fit into a body. A segment holds 64 KB, most
# programs write chunks of 8 KB.
_MAX_SEGMENTS: Final = 1000
_MAX_CHUNKS: Final = 20_000


def check_image(content: bytes, settings: AdmissionSettings) -> None:
    """Raises Problem for what must not be decoded. Nothing is allocated; large dimensions are refused by `decode`."""
    if not content:
        raise Problem("unprocessable", "the picture is empty; send a JPEG, PNG or WebP")
    webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    if not (webp or content.startswith((_JPEG, _PNG))):
        raise Problem("unsupported_media", "the content is no JPEG, PNG or WebP; send one of those")
    # FF DA cannot occur within a scan's data, where FF is followed by 00 or a restart marker; in a comment or thumbnail
    # it may, which counts as a few scans more.
    if content.startswith(_JPEG) and content.count(_SCAN) > settings.scans:
        raise Problem("unprocessable", f"the JPEG has more than {settings.scans} scans; save it again")
    if content.startswith(_JPEG) and not _has_few_segments(content):
        raise Problem("unprocessable", f"the JPEG's header has more than {_MAX_SEGMENTS} parts; save it again")
    if content.startswith(_PNG) and not _has_few_chunks(content):
        raise Problem("unprocessable", f"the PNG has more than {_MAX_CHUNKS} chunks; save it again")


def megapixels(content: bytes, settings: AdmissionSettings) -> float:
    """How large the picture is, by its header. Raises Problem for one that must not be decoded."""
    check_image(content, settings)
    try:
        width, height = read_size(content, _limits(settings))
    except ImageError as error:
        raise _problem(error) from None
    return width * height / 1e6


def decode(content: bytes, settings: AdmissionSettings) -> UInt8[np.ndarray, "H W 3"]:
    """The picture, upright, RGB; its header is held against the limits before anything is decoded. Raises Problem."""
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
    """Whether a JPEG's first scan, or its end, comes within so many segments and bytes between them."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
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
    """Whether a PNG has so few chunks."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if at + 4 > len(content):
            return True
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return False
