"""Records of prepared faces in tar files."""

import tarfile

import numpy as np
import pytest

from focus_ray.data.align import Crop
from focus_ray.data.photos import PhotoFace
from focus_ray.data.prepared.shard_file import PictureFormat, ShardWriter, decode_record, encode_record
from focus_ray.errors import DataError

INFO = {"name": "é/\udc80.jpg", "person": "é", "split": "train"}


def face() -> PhotoFace:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return PhotoFace(image, rng.uniform(0, 23, (68, 2)), Crop(rng.normal(size=(2, 3)), 16))


def test_a_record_comes_back_with_all_its_bits_and_any_tar_reader_reads_it(tmp_path):
    given, mask = face(), np.eye(24) > 0
    writer = ShardWriter()
    writer.add("0", encode_record(INFO, given, None, PictureFormat()))
    extent = writer.add("1", encode_record(INFO, given, mask, PictureFormat()))
    (tmp_path / "a.tar").write_bytes(writer.content())
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == ["0.json", "0.png", "1.json", "1.png", "1.mask.png"]
        assert {entry.mtime for entry in archive} == {0}
    record = decode_record(writer.content()[extent.offset : extent.offset + extent.size], "here")
    assert np.array_equal(record.face.image, given.image)
    assert np.array_equal(record.face.landmarks, given.landmarks)
    assert np.array_equal(record.face.crop.matrix, given.crop.matrix)
    assert record.face.crop.size == 16
    assert record.mask is not None
    assert np.array_equal(record.mask, mask)
    assert record.info["name"] == INFO["name"]


def test_jpeg_is_smaller_and_nearly_the_same():
    smooth = np.add.outer(np.arange(64), np.arange(64))[..., None].repeat(3, 2).astype(np.uint8)
    given = PhotoFace(smooth, np.zeros((68, 2)), Crop(np.eye(2, 3), 64))
    writer = ShardWriter()
    extent = writer.add("0", encode_record(INFO, given, None, PictureFormat(name="jpeg", quality=95)))
    shown = decode_record(writer.content()[: extent.size], "here").face.image
    assert np.abs(shown.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("damage", [slice(0, 400), slice(0, 600), slice(600, None)])
def test_a_damaged_record_is_an_error_that_says_where(damage):
    writer = ShardWriter()
    extent = writer.add("0", encode_record(INFO, face(), None, PictureFormat()))
    with pytest.raises(DataError, match=r"row 3.*prepare the set again"):
        decode_record(writer.content()[: extent.size][damage], "row 3")


@pytest.mark.parametrize("change", [{"size": 0}, {"size": 10**9}, {"landmarks": [[0, 0]]}, {"crop": None}])
def test_numbers_are_checked(change):
    files = encode_record(INFO, face(), None, PictureFormat())
    import json

    files["json"] = json.dumps(json.loads(files["json"]) | change).encode()
    writer = ShardWriter()
    writer.add("0", files)
    with pytest.raises(DataError, match="damaged"):
        decode_record(writer.content(), "here")


def sparse_member() -> bytes:
    """A member of the type that GNU tar has for files with holes; it claims 400 MB of zeros."""
    entry = tarfile.TarInfo("0.png")
    entry.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 400_000_000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def link_to_itself() -> bytes:
    entry = tarfile.TarInfo("0.png")
    entry.type, entry.linkname = tarfile.SYMTYPE, "0.png"
    return entry.tobuf(tarfile.USTAR_FORMAT)


def deep_json() -> bytes:
    content = b"[" * 100_000
    entry = tarfile.TarInfo("0.json")
    entry.size = len(content)
    return entry.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("make", [sparse_member, link_to_itself, deep_json])
def test_what_is_no_plain_file_is_refused(make):
    with pytest.raises(DataError, match="is damaged"):
        decode_record(make() + bytes(1024), "here")
