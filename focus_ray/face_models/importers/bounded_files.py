"""Reads files that may be hostile: regular files of bounded size, and numpy arrays without objects.

Nothing is allocated on the word of a header: what it claims has to lie in the file.
"""

import errno
import hashlib
import math
import os
import stat
import zipfile
from collections.abc import Collection
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from focus_ray.errors import FaceModelError, printable

MAX_BYTES = 256 << 20
"""Largest file that is read at once; the largest published ones have 60 MB."""

MAX_ARRAY_BYTES = 400 << 20
"""Largest size of the unpacked arrays of one file."""

MAX_TEXT_BYTES = 1 << 20
"""Largest licence or list of landmarks."""

_PIECE = 1 << 20


def read_bytes(path: Path, hashes: dict[str, str], max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file and note its hash.

    Args:
        path: a regular file; links are refused.
        hashes: receives the sha256 (hex) by the file's name.
        max_bytes: largest size.

    Raises:
        FaceModelError: the file is missing, empty, too large, a link, or not a regular file.
    """
    with _open_regular(path, max_bytes) as file:
        content = file.read(max_bytes + 1)
    hashes[path.name] = hashlib.sha256(content).hexdigest()
    return content


def hash_file(path: Path, hashes: dict[str, str], max_bytes: int) -> None:
    """Note the hash of a file that is read later in pieces; arguments and errors are those of `read_bytes`."""
    digest = hashlib.sha256()
    with _open_regular(path, max_bytes) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    hashes[path.name] = digest.hexdigest()


def read_text(path: Path, hashes: dict[str, str]) -> str:
    """Read a small UTF-8 text; arguments and errors are those of `read_bytes`."""
    try:
        return read_bytes(path, hashes, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FaceModelError(f"{printable(path)} is not UTF-8 text; convert it") from None


def read_npz(content: bytes, name: str, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Read arrays of an npz archive; entries with other names are not unpacked.

    Args:
        content: the archive.
        name: of the file, for messages.
        wanted: names of arrays; those that the archive lacks are left out.

    Raises:
        FaceModelError: the archive is damaged, too large when unpacked, or an array holds objects.
    """
    name = printable(name)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = {key: archive.getinfo(f"{key}.npy") for key in wanted if f"{key}.npy" in archive.namelist()}
            unpacked = sum(entry.file_size for entry in entries.values())
            if unpacked > MAX_ARRAY_BYTES:
                raise FaceModelError(
                    f"{name} unpacks to {unpacked} bytes, more than {MAX_ARRAY_BYTES}; check its origin"
                )
            arrays = {}
            for key, entry in entries.items():
                with archive.open(entry) as stream:
                    arrays[key] = _read_npy(cast(BufferedIOBase, stream), entry.file_size, f"{name}: {key}")
            return arrays
    except FaceModelError:
        raise
    except Exception as error:  # a hostile archive can raise any error here
        raise FaceModelError(f"{name} is damaged or not an npz archive ({printable(error)}); get it again") from None


def read_npy_header(stream: BufferedIOBase, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an npy stream, up to the data.

    Returns:
        Shape, whether the data are in Fortran order, and type.

    Raises:
        FaceModelError: there is no valid header.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
        reason = f"version {version}"
    except Exception as error:  # the header is parsed as Python: a hostile one can raise any error here
        reason = printable(error)
    raise FaceModelError(f"{name} is not a numpy array ({reason}); get the file again")


def _read_npy(stream: BufferedIOBase, size: int, name: str) -> np.ndarray:
    shape, fortran, dtype = read_npy_header(stream, name)
    if dtype.hasobject or dtype.kind not in "biufU":
        raise FaceModelError(f"{name} has the type {dtype}: only numbers and text are read; save it without objects")
    rest = size - stream.tell()
    if math.prod(shape) * dtype.itemsize != rest or rest == 0:
        raise FaceModelError(f"{name} claims the shape {shape} but has {rest} bytes; get the file again")
    return np.frombuffer(stream.read(rest), dtype).reshape(shape, order="F" if fortran else "C")


def _open_regular(path: Path, max_bytes: int) -> BufferedIOBase:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise FaceModelError(f"cannot read {printable(path)}: {reason}; give the file itself") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= max_bytes:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FaceModelError(f"{printable(path)} is not a file; give the file of the face model")
    raise FaceModelError(f"{printable(path)} has {status.st_size} bytes, not 1 to {max_bytes}; check what it is")
