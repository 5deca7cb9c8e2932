"""Files of bounded size: links, devices, bombs and false claims are refused before anything is allocated."""

import hashlib
import os
import resource
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.bounded_files import hash_file, read_bytes, read_npz, read_text


def npz(**arrays: np.ndarray) -> bytes:
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def archive(entries: dict[str, bytes]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return stream.getvalue()


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_a_file_is_read_with_its_hash(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"abc")
    hashes: dict[str, str] = {}
    assert read_bytes(path, hashes) == b"abc"
    assert hashes == {"model.bin": hashlib.sha256(b"abc").hexdigest()}
    again: dict[str, str] = {}
    hash_file(path, again, 3)
    assert again == hashes


def test_what_is_no_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    refused = {
        tmp_path / "link": "it is a link; give the file itself",
        tmp_path / "pipe": "is not a file; give the file of the face model",
        tmp_path: "is not a file",
        Path(os.devnull): "is not a file",
        tmp_path / "empty": "has 0 bytes, not 1 to 5; check what it is",
        file: "has 10 bytes, not 1 to 5; check what it is",
        tmp_path / "none": "No such file or directory; give the file itself",
    }
    for path, message in refused.items():
        with pytest.raises(FaceModelError, match=message):
            read_bytes(path, {}, 5)


def test_text_must_be_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes("Zürich".encode("latin1"))
    with pytest.raises(FaceModelError, match="is not UTF-8 text; convert it"):
        read_text(tmp_path / "a.txt", {})


def test_only_wanted_arrays_are_read():
    wanted = {"a": np.arange(6.0).reshape(2, 3), "names": np.array(["x", "yz"]), "f": np.asfortranarray(np.eye(3)[:2])}
    read = read_npz(npz(**wanted, other=np.array([{}], dtype=object)), "a.npz", [*wanted, "absent"])
    assert read.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK no archive", "is damaged or not an npz archive"),
        (npz(a=np.ones(1000))[:-30], "is damaged or not an npz archive"),
        (npz(a=np.array([print], dtype=object)), "has the type object: only numbers and text are read"),
        (npz(a=np.zeros(2, [("x", "f4"), ("y", "O")])), "only numbers and text are read"),
        (archive({"a.npy": header("(1152921504606846976,)") + bytes(8)}), "claims the shape .* but has 8 bytes"),
        (archive({"a.npy": header("(-1,)") + bytes(8)}), "claims the shape .* but has 8 bytes"),
        (archive({"a.npy": header("(4294967296, 4294967296)") + bytes(8)}), "claims the shape"),
        (archive({"a.npy": header("(1,)", "<U0")}), "claims the shape .* but has 0 bytes"),
        (archive({"a.npy": header("__import__('os')")}), "is not a numpy array"),
        (archive({"a.npy": header("((1,)")}), "is not a numpy array"),
        (archive({"a.npy": b"text"}), "is not a numpy array"),
        (archive({"a.npy": b"\x93NUMPY\x03\x00"}), "is not a numpy array .version"),
    ],
)
def test_malformed_archives_are_refused(content, message):
    with pytest.raises(FaceModelError, match=message):
        read_npz(content, "a.npz", ["a"])


def test_a_zip_bomb_is_refused_unread(monkeypatch):
    monkeypatch.setattr("focus_ray.face_models.importers.bounded_files.MAX_ARRAY_BYTES", 1 << 20)
    bomb = archive({"a.npy": bytes(50 << 20)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FaceModelError, match="unpacks to 52428800 bytes, more than 1048576; check its origin"):
        read_npz(bomb, "a.npz", ["a"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
