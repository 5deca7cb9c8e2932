"""read_image: every accepted kind of picture becomes the same upright RGB; everything else is one clear line."""

import contextlib
import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from focus_ray.data.image_file import ImageLimits, is_picture, read_image, read_image_and_alpha, read_size
from focus_ray.errors import ImageError, ImageTooLarge

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def quadrants() -> Image.Image:
    image = Image.new("RGB", (32, 16), RED)
    image.paste(GREEN, (16, 0, 32, 8))
    image.paste(BLUE, (0, 8, 16, 16))
    image.paste(WHITE, (16, 8, 32, 16))
    return image


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WebP", {"lossless": True})])
def test_lossless_formats_give_the_exact_pixels(kind: str, options: dict, tmp_path: Path):
    path = tmp_path / "name.jpg"  # the name says another format: the content decides
    path.write_bytes(encoded(quadrants(), kind, **options))
    np.testing.assert_array_equal(read_image(path), np.asarray(quadrants()))


def test_jpeg_from_bytes():
    image = read_image(encoded(quadrants(), "JPEG", quality=95, subsampling=0))
    assert np.abs(image.astype(int) - np.asarray(quadrants())).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quadrants().transpose(turns[orientation]) if orientation in turns else quadrants()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(stored, "PNG", exif=exif.tobytes()))
    np.testing.assert_array_equal(image, np.asarray(quadrants()))


def test_damaged_exif_is_ignored():
    image = read_image(encoded(quadrants(), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"))
    np.testing.assert_array_equal(image, np.asarray(quadrants()))


def test_grey_and_palette_and_one_bit():
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    np.testing.assert_array_equal(read_image(encoded(grey, "PNG")), np.asarray(grey)[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(read_image(encoded(quadrants().quantize(4), "PNG")), np.asarray(quadrants()))
    bits = read_image(encoded(grey.convert("1"), "PNG"))
    assert set(np.unique(bits)) == {0, 255}


def test_sixteen_bit_grey_is_scaled_and_not_cut_off():
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = read_image(encoded(Image.fromarray(deep), "PNG"))
    assert image.min() == 0
    assert image.max() == 255
    assert np.abs(image[..., 0] - deep / 257).max() <= 0.5 + 1e-9


def test_alpha_is_composited_on_white():
    image = Image.new("RGBA", (4, 4), (*RED, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    rgb = read_image(encoded(image, "PNG"))
    assert tuple(rgb[0, 0]) == WHITE
    assert tuple(rgb[1, 1]) == RED
    assert abs(int(rgb[0, 1, 0]) - 127) <= 1
    grey = Image.new("LA", (4, 4), (0, 0))
    assert (read_image(encoded(grey, "PNG")) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, *RED])
    assert (read_image(encoded(palette, "PNG", transparency=0)) == 255).all()


def test_cmyk_jpeg_becomes_rgb():
    image = read_image(encoded(quadrants().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image[12, 28].astype(int) - 255).max() < 8
    assert image[2, 2, 0] > 200
    assert image[2, 2, 1] < 60


def test_empty_missing_and_text(tmp_path: Path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("this is no picture")
    with pytest.raises(ImageError, match=r"empty\.jpg: the file is empty"):
        read_image(empty)
    with pytest.raises(ImageError, match=r"text\.jpg: the content is not a picture"):
        read_image(text)
    with pytest.raises(ImageError, match="there is no such file"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WebP"])
@pytest.mark.parametrize("kept", [0.95, 0.5, 0.1, 20])
def test_truncated_files_are_refused_in_one_line(kind: str, kept: float):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = encoded(noise, kind)
    with pytest.raises(ImageError) as caught:
        read_image(whole[: int(kept if kept > 1 else kept * len(whole))])
    assert "\n" not in str(caught.value)


def test_every_single_damaged_byte_gives_a_picture_or_an_image_error():
    """A scan over damaged headers: nothing but ImageError may come out."""
    image = quadrants()
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "BMP", "WebP"):
        whole = bytearray(encoded(image, kind))
        for at in rng.permutation(len(whole))[:120]:
            damaged = bytearray(whole)
            damaged[at] = int(rng.integers(256))
            with contextlib.suppress(ImageError):
                assert read_image(bytes(damaged)).dtype == np.uint8


def test_huge_header_is_refused_before_allocation_and_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="30000 x 30000 px exceed the limit of 50 Mpx"):
            read_image(png_header(30_000, 30_000))
        with pytest.raises(ImageError, match="60000 x 1 px"):
            read_image(png_header(60_000, 1))


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"icc_profile": b"any"}])
def test_limits_hold_for_each_kind_of_webp(options: dict):
    content = encoded(quadrants(), "WebP", **options)
    with pytest.raises(ImageError, match="32 x 16 px exceed"):
        read_image(content, ImageLimits(megapixels=1e-4))
    assert read_image(content, ImageLimits(megapixels=512e-6)).shape == (16, 32, 3)


def test_byte_limit():
    with pytest.raises(ImageTooLarge, match=r"exceed the limit of 0\.001 MB"):
        read_image(b"\xff\xd8\xff" + bytes(2000), ImageLimits(megabytes=0.001))


def test_control_characters_of_a_name_stay_out_of_the_message(tmp_path: Path):
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a\nb.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WebP", "JPEG"])
def test_the_size_by_the_header_alone(kind: str):
    assert read_size(encoded(quadrants(), kind)[:-20]) == (32, 16)
    with pytest.raises(ImageTooLarge, match="exceed the limit"):
        read_size(encoded(quadrants(), kind), ImageLimits(side=20))
    with pytest.raises(ImageError):
        read_size(encoded(quadrants(), kind)[:9])


def wide_profile() -> bytes:
    """An RGB profile like Adobe RGB: sRGB's own with all three curves replaced by a gamma of 563 / 256."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 563)
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        at = 132 + 12 * number
        if profile[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = struct.unpack_from(">I", profile, at + 4)[0]
            profile[offset : offset + len(curve)] = curve
            struct.pack_into(">I", profile, at + 8, len(curve))
        if profile[at : at + 4] == b"gXYZ":  # a greener green
            offset = struct.unpack_from(">I", profile, at + 4)[0]
            struct.pack_into(">iii", profile, offset + 8, 13457, 40960, 3932)
    return bytes(profile)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("JPEG", "RGB")])
def test_an_embedded_profile_is_applied(kind: str, mode: str):
    picture, profile = Image.new(mode, (16, 16), (40, 90, 60)), wide_profile()
    found = read_image(encoded(picture, kind, icc_profile=profile))[8, 8].astype(int)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (40, 90, 60)), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert expected is not None
    np.testing.assert_allclose(found, np.asarray(expected)[0, 0], atol=2)
    assert np.abs(found - [40, 90, 60]).max() >= 3


def grey_profile(gamma: float) -> bytes:
    """A version 2 profile of grey pictures: grey to the power of gamma is the light."""
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", 156, 20) + b"kTRC" + struct.pack(">II", 176, 16)
    header = bytes(4) + bytes(4) + bytes.fromhex("02100000") + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">iii", 63190, 65536, 54061) + bytes(48)
    content = header + tags + white + curve
    return struct.pack(">I", len(content)) + content[4:]


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_profile_of_grey_is_applied(mode: str):
    grey = np.full((8, 8), 64, np.uint8)
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    found = read_image(encoded(picture, "PNG", icc_profile=grey_profile(1.0)))
    light = 64 / 255
    np.testing.assert_allclose(found, 255 * (1.055 * light ** (1 / 2.4) - 0.055), atol=2)


def test_the_alpha_of_grey_and_palette_pictures_stays_beside_their_profile():
    grey = Image.merge("LA", (Image.new("L", (4, 4), 64), Image.new("L", (4, 4), 90)))
    colours, alpha = read_image_and_alpha(encoded(grey, "PNG", icc_profile=grey_profile(1.0)))
    assert colours[0, 0, 0] > 120
    assert alpha is not None
    assert (alpha == 90).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 40, 90, 60])
    content = encoded(palette, "PNG", icc_profile=wide_profile(), transparency=bytes([255, 90]))
    colours, alpha = read_image_and_alpha(content)
    assert np.abs(colours[0, 0].astype(int) - [40, 90, 60]).max() >= 3
    assert alpha is not None
    assert (alpha == 90).all()


def test_a_palette_has_the_colours_of_its_profile():
    plain = Image.new("RGB", (8, 8), (40, 90, 60))
    palette = plain.quantize(4)
    assert palette.mode == "P"
    expected, found = (read_image(encoded(one, "PNG", icc_profile=wide_profile())) for one in (plain, palette))
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found[0, 0].astype(int) - [40, 90, 60]).max() >= 3


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "P"])
def test_a_profile_of_other_colours_than_the_pictures_is_ignored(mode: str):
    picture = Image.new("RGB", (4, 4), (64, 64, 64))
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    profile = wide_profile() if mode.startswith("L") else grey_profile(1.0)
    np.testing.assert_array_equal(read_image(encoded(picture, "PNG", icc_profile=profile)), np.full((4, 4, 3), 64))


def test_profiles_that_say_nothing_new_or_are_broken_leave_the_pixels(tmp_path: Path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (srgb, b"any", wide_profile()[:300], wide_profile() + bytes(5_000_000), lab):
        content = encoded(noise, "WebP", icc_profile=profile, lossless=True)
        np.testing.assert_array_equal(read_image(content), np.asarray(noise))


def test_the_profile_of_cmyk_is_not_needed():
    picture = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    plain = read_image(encoded(picture, "JPEG"))
    np.testing.assert_array_equal(read_image(encoded(picture, "JPEG", icc_profile=wide_profile())), plain)


def heic(image: Image.Image, **options) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=100, chroma=444, **options)
    return stream.getvalue()


def test_heic_is_read(tmp_path: Path):
    path = tmp_path / "IMG_0001.jpg"
    path.write_bytes(heic(quadrants().resize((128, 64), Image.Resampling.NEAREST)))
    found = read_image(path)
    assert found.shape == (64, 128, 3)
    places = found[[16, 16, 48, 48], [32, 96, 32, 96]].astype(int)
    assert np.abs(places - [RED, GREEN, BLUE, WHITE]).max() < 12
    assert is_picture(path)
    assert read_size(path.read_bytes()) == (128, 64)


def test_limits_hold_for_heic_before_decoding(monkeypatch: pytest.MonkeyPatch):
    content = heic(quadrants().resize((128, 64)))
    module = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(module.HeifImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="128 x 64 px exceed"):
        read_image(content, ImageLimits(megapixels=0.008))
    with pytest.raises(ImageError, match="128 x 64 px exceed"):
        read_image(content, ImageLimits(side=100))


def test_the_size_of_the_frame_counts_as_well(monkeypatch: pytest.MonkeyPatch):
    """A header that says less than the frame has."""
    content = heic(quadrants().resize((128, 64)))
    honest = struct.pack(">4sIII", b"ispe", 0, 128, 64)
    assert honest in content
    with pytest.raises(ImageError):
        read_image(content.replace(honest, struct.pack(">4sIII", b"ispe", 0, 64, 64)), ImageLimits(megapixels=0.005))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_cut_off_heic_is_an_image_error(share: float):
    content = heic(quadrants().resize((128, 64)))
    with pytest.raises(ImageError):
        read_image(content[: int(len(content) * share)])


def test_without_its_package_heic_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch):
    content = heic(quadrants().resize((128, 64)))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        read_image(content)
