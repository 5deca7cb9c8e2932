"""Reader of pictures of unknown origin: format by content, limits checked before decoding."""

import io
import os
import struct
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import BmpImagePlugin, ExifTags, Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from focus_ray.data.colour_profile import to_srgb
from focus_ray.errors import ImageError, ImageTooLarge, printable
from focus_ray.settings import Settings

# First bytes of each accepted format (a RIFF container is WebP if its form type at byte 8 is WEBP).
_JPEG, _PNG, _BMP, _RIFF, _WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF", b"WEBP"
# Brands of HEIC, at byte 8 after "ftyp" (ISO/IEC 23008-12, annex B).
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_ACCEPTED = "JPEG, PNG, WebP, BMP or HEIC"
_ROTATIONS = range(2, 9)  # EXIF orientations; 1 is upright
_CHANNEL_16_TO_8 = 257  # 65535 / 255
# Errors of Pillow for damaged files: OSError (truncated), SyntaxError (a broken PNG chunk), others in its parsers.
_DECODE_ERRORS = (
    OSError,
    RuntimeError,  # libheif
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ZeroDivisionError,
    OverflowError,
    struct.error,
)


class ImageLimits(Settings):
    """Limits on the size of a picture, checked on file size and header before anything is allocated."""

    megabytes: float = 100.0
    megapixels: float = 50.0  # a 50 Mpx camera's picture is 150 MB of RGB once decoded
    side: int = 30_000  # px; OpenCV's warps support at most 32,767


DEFAULT_LIMITS = ImageLimits()


def read_image(
    source: str | Path | bytes, limits: ImageLimits = DEFAULT_LIMITS, name: str = "picture"
) -> UInt8[np.ndarray, "H W 3"]:
    """Read a picture as upright 8-bit RGB, from a file or from a file's content.

    Formats are JPEG, PNG, WebP, BMP, and HEIC if pillow-heif is installed; they are recognised by content, not by name.
    The EXIF orientation is applied; greyscale, palette and CMYK become RGB; 16-bit grey is scaled to 8 bits;
    transparent pixels are composited on white. Of an animation the first frame is read. Colours are converted to sRGB
    by an embedded profile, see `colour_profile.to_srgb`.

    Args:
        source: path of the file, or its content.
        limits: largest size of the picture.
        name: name of the picture in messages if `source` is content.

    Returns:
        RGB, 0 to 255.

    Raises:
        ImageError: the file is missing, empty, truncated or not a picture of these formats.
        ImageTooLarge: the picture is over the limits.
    """
    return np.array(_to_rgb(_load(source, limits, name)))


def read_image_and_alpha(
    source: str | Path | bytes, limits: ImageLimits = DEFAULT_LIMITS, name: str = "picture"
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]:
    """Read a picture as `read_image` does, but with its opacity instead of a white background.

    Args:
        source: path of the file, or its content.
        limits: largest size of the picture.
        name: name of the picture in messages if `source` is content.

    Returns:
        (RGB, alpha), 0 to 255; alpha is None if the picture has no transparency.

    Raises:
        ImageError: the file is missing, empty, truncated or not a picture of the accepted formats.
        ImageTooLarge: the picture is over the limits.
    """
    image = _load(source, limits, name)
    if not image.has_transparency_data:
        return np.array(_to_rgb(image)), None
    layer = np.array(image.convert("RGBA"))
    return layer[..., :3], layer[..., 3]


def read_size(content: bytes, limits: ImageLimits = DEFAULT_LIMITS, name: str = "picture") -> tuple[int, int]:
    """Read the size of a picture from its header; nothing is decoded.

    Args:
        content: content of the file.
        limits: largest size of the picture.
        name: name of the picture in messages.

    Returns:
        (width, height) before the EXIF orientation, px.

    Raises:
        ImageError: the content is empty, damaged or not a picture of the accepted formats.
        ImageTooLarge: the picture is over the limits.
    """
    check_bytes(name, len(content), limits)
    if _is_webp(content):
        _check_size(name, _webp_size(content), limits)
        return _webp_size(content)
    try:
        return _open(name, content, limits).size
    except _DECODE_ERRORS as error:
        raise _damaged_error(name, error) from None


def _load(source: str | Path | bytes, limits: ImageLimits, name: str) -> Image.Image:
    """The picture, upright and decoded."""
    if isinstance(source, bytes):
        content = source
        check_bytes(name, len(content), limits)
    else:
        name, content = printable(source), read_content(source, limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of unusual metadata, which is not used here
        try:
            opened = _open(name, content, limits)
            opened.load()
            _check_size(name, opened.size, limits)  # the frame of a HEIC may differ from its header
        except _DECODE_ERRORS as error:
            raise _damaged_error(name, error) from None
        except MemoryError:
            raise ImageError(f"{name}: the picture does not fit into memory; scale it down") from None
        return _apply_orientation(to_srgb(_grey_to_8_bits(opened) if opened.mode.startswith("I") else opened))


def is_picture(path: str | Path) -> bool:
    """Return whether a file begins like an accepted picture; False if it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith((_JPEG, _PNG)) or _is_webp(start) or _is_heic(start)


def read_content(path: str | Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Read the bytes of a picture's file after a check of its size.

    Args:
        path: path of the file.
        limits: largest size of the file.

    Returns:
        The content of the file.

    Raises:
        ImageError: the file is missing, empty or unreadable.
        ImageTooLarge: the file is over the limit.
    """
    name = printable(path)
    try:
        check_bytes(name, Path(path).stat().st_size, limits)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{name}: the file cannot be read ({_one_line(error)}); check the path and its permissions"
        ) from None


def check_bytes(name: str, size: int, limits: ImageLimits) -> None:
    """Check the file size of a picture.

    Args:
        name: name of the picture in messages.
        size: size of the file, bytes.
        limits: largest size of the file.

    Raises:
        ImageError: the file is empty.
        ImageTooLarge: the file is over the limit.
    """
    if size == 0:
        raise ImageError(f"{name}: the file is empty; get a complete copy")
    if size > limits.megabytes * 1e6:
        raise ImageTooLarge(f"{name}: {size / 1e6:.0f} MB exceed the limit of {limits.megabytes:g} MB; scale it down")


def _open(name: str, content: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Open a picture and read its header only.

    Pillow's format classes are called directly: Image.open would warn of, or refuse, large pictures by limits of its
    own, and would try formats that are not accepted here.
    """
    stream = io.BytesIO(content)
    if content.startswith(_JPEG):
        opened = JpegImagePlugin.JpegImageFile(stream)
    elif content.startswith(_PNG):
        opened = PngImagePlugin.PngImageFile(stream)
    elif content.startswith(_BMP):
        opened = BmpImagePlugin.BmpImageFile(stream)
    elif _is_webp(content):
        _check_size(name, _webp_size(content), limits)  # Pillow's decoder allocates the canvas when it opens a WebP
        opened = WebPImagePlugin.WebPImageFile(stream)
    elif _is_heic(content):
        opened = _open_heic(name, stream)
    else:
        raise ImageError(f"{name}: the content is not a picture in an accepted format; use {_ACCEPTED}")
    _check_size(name, opened.size, limits)
    return opened


def _is_webp(content: bytes) -> bool:
    return content.startswith(_RIFF) and content[8:12] == _WEBP


def _is_heic(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in _HEIC


def _open_heic(name: str, stream: io.BytesIO) -> ImageFile.ImageFile:
    """Read the header of a HEIC; rotation by header or EXIF happens at decoding."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ImageError(
            f"{name}: the package that reads HEIC is not installed; run `pip install pillow-heif`, or save as JPEG"
        ) from None
    return HeifImageFile(stream)


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height of the canvas, from the first chunk of the container (RFC 9649, sections 2.5 to 2.7)."""
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height


def _check_size(name: str, size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: the header has an invalid size of {width} x {height} px; get a complete copy")
    if max(width, height) > limits.side or width * height > limits.megapixels * 1e6:
        raise ImageTooLarge(
            f"{name}: {width} x {height} px exceed the limit of {limits.megapixels:g} Mpx"
            f" and {limits.side} px a side; scale it down"
        )


def _apply_orientation(image: Image.Image) -> Image.Image:
    try:
        # without a rotation exif_transpose would copy the picture
        rotated = image.getexif().get(ExifTags.Base.Orientation) in _ROTATIONS
        return ImageOps.exif_transpose(image) if rotated else image
    except (*_DECODE_ERRORS, AttributeError):
        return image  # unreadable EXIF block: the picture is not rotated


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert copies


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale a 16-bit grey picture to 8 bits and drop its transparent grey level."""
    rounded = (np.asarray(image).astype(np.int64) + _CHANNEL_16_TO_8 // 2) // _CHANNEL_16_TO_8
    grey = Image.fromarray(rounded.clip(0, 255).astype(np.uint8))
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def path_text(path: str | Path) -> str:
    r"""Return a path as text in full length; bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _damaged_error(name: str, error: BaseException) -> ImageError:
    return ImageError(f"{name}: the picture is damaged or truncated ({_one_line(error)}); get a complete copy")


def _one_line(error: BaseException) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)
