"""Admission of pictures: by content, header and structure, before anything is allocated."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from focus_ray.errors import ImageError, ImageTooLarge
from focus_ray.serving import image_checks
from focus_ray.serving.image_checks import check_image, decode, megapixels
from focus_ray.serving.problems import Problem
from focus_ray.serving.settings import AdmissionSettings

SETTINGS = AdmissionSettings()
GRADIENT = np.linspace(0, 255, 60 * 80 * 3).reshape(60, 80, 3).astype(np.uint8)


def encoded(kind: str, picture: np.ndarray = GRADIENT, **options) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, **options)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes = b"", *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + data + chunk(b"IEND", b"")


def refused(content: bytes, settings: AdmissionSettings = SETTINGS) -> Problem:
    with pytest.raises(Problem) as problem:
        decode(content, settings)
    return problem.value


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_is_accepted(kind: str):
    check_image(encoded(kind), SETTINGS)
    picture = decode(encoded(kind), SETTINGS)
    assert picture.shape == (60, 80, 3)
    assert np.abs(picture.astype(int) - GRADIENT).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM", "PDF", "EPS", "JPEG2000", "ICO"])
def test_other_kinds_are_refused_by_content(kind: str):
    assert refused(encoded(kind)).code == "unsupported_media"


@pytest.mark.parametrize(
    "content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"SIMPLE  = T", b"8BPS\0\1", b"RIFFxxxxWAVE"]
)
def test_no_pictures(content: bytes):
    assert refused(content).code == "unsupported_media"


def test_an_empty_body():
    assert refused(b"").code == "unprocessable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cut_off_anywhere(kind: str):
    whole = encoded(kind)
    for length in range(1, len(whole) - 30, max(1, len(whole) // 40)):
        with pytest.raises(Problem) as problem:
            decode(whole[:length], SETTINGS)
        assert problem.value.status in (413, 415, 422)


def test_a_huge_canvas_of_a_few_kilobytes_costs_nothing():
    bomb = png(30_000, 30_000, bytes(30_001 * 100))
    assert len(bomb) < 8192
    tracemalloc.start()
    try:
        assert refused(bomb).code == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_dimensions_that_are_over_the_limits():
    assert refused(png(12_001, 1)).code == "too_large"
    assert refused(png(5000, 4000)).code == "too_large"
    assert refused(encoded("WEBP"), AdmissionSettings(megapixels=0.001)).code == "too_large"
    assert refused(encoded("JPEG"), AdmissionSettings(side=79)).code == "too_large"
    assert refused(png(0, 5)).code == "unprocessable"


def test_a_jpeg_of_very_many_scans():
    progressive = encoded("JPEG", progressive=True)
    assert decode(progressive, SETTINGS).shape == (60, 80, 3)
    start, end = progressive.rindex(b"\xff\xda"), progressive.rindex(b"\xff\xd9")
    many = progressive[:end] + progressive[start:end] * 500 + progressive[end:]
    assert refused(many).code == "unprocessable"
    assert "scans" in refused(many).detail


def test_text_bombs_in_a_png():
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(80 << 20), 9))
    assert refused(png(4, 4, bytes(20), bomb)).status == 422


def test_animations_show_their_first_frame():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for kind in ("PNG", "WEBP"):
        content = io.BytesIO()
        frames[0].save(content, kind, save_all=True, append_images=frames[1:], lossless=True)
        assert decode(content.getvalue(), SETTINGS)[5, 5].tolist() == [255, 0, 0]


def test_messages_name_no_file():
    assert "/" not in refused(encoded("PNG")[:60]).detail.replace("damaged or truncated", "")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_how_large_a_picture_is_by_its_header(kind: str):
    assert megapixels(encoded(kind), SETTINGS) == pytest.approx(60 * 80 / 1e6)


@pytest.mark.parametrize(
    ("content", "status"),
    [(png(30_000, 30_000), 413), (png(0, 9), 422), (encoded("JPEG")[:30], 422), (b"RIFF\0\0\0\0WEBP", 422)],
)
def test_a_header_that_is_refused(content: bytes, status: int):
    with pytest.raises(Problem) as problem:
        megapixels(content, SETTINGS)
    assert problem.value.status == status


@pytest.mark.parametrize("part", [b"\xff\xfe\0\2", b"\xff\xe5\0\2", b"\xff\xd0", b"\xff\xd0x", b"\xff"])
def test_a_header_of_a_million_parts_is_not_read(part: bytes):
    whole = encoded("JPEG")
    assert "segments" in refused(whole[:2] + part * 1_000_000 + whole[2:]).detail
    check_image(whole[:2] + part * 400 + whole[2:], SETTINGS)


def test_a_png_of_a_million_chunks_is_not_read():
    whole = encoded("PNG")
    text = chunk(b"tEXt", b"a\0")
    assert "chunks" in refused(whole[:33] + text * 30_000 + whole[33:]).detail
    decode(whole[:33] + text * 1000 + whole[33:], SETTINGS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageTooLarge("zu groß"), "too_large"),
        (ImageError("picture: the layers are more than the limit; save it again"), "unprocessable"),
    ],
)
def test_the_kind_of_error_decides_not_its_words(error: ImageError, code: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(image_checks, "read_image", refuse)
    assert refused(encoded("JPEG")).code == code
