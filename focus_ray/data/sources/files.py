"""Files of a data set in a folder or an object store: listed by name, small texts read."""

import os
from itertools import islice
from pathlib import Path, PurePosixPath

from focus_ray.data.picture_source import ObjectStorePictures, PictureSource
from focus_ray.errors import DataError, NoSuchObject, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes
from focus_ray.storage.object_store import SCHEME
from focus_ray.storage.open_store import open_store

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Suffixes of files that count as pictures."""

_TEXT_MEGABYTES = 10.0  # the names of 30,000 pictures take 300 kB
_MEGA = 1_000_000


def list_files(source: PictureSource, folder: str = "", *, limit: int | None = None) -> list[str]:
    """List the files in a folder of the set and its subfolders.

    Args:
        source: pictures of the set.
        folder: folder relative to the set.
        limit: most files returned; None means all.

    Returns:
        Sorted paths relative to the set; with a limit any of them.
    """
    if isinstance(source, ObjectStorePictures):
        return [entry.key for entry in source.store.list(folder, limit=limit)]
    root = Path(str(source))
    found = (
        Path(place, name).relative_to(root).as_posix() for place, _, names in os.walk(root / folder) for name in names
    )
    return sorted(islice(found, limit))


def find_pictures(source: PictureSource, folder: str = "") -> dict[str, str]:
    """Find the pictures in a folder of the set, not in its subfolders.

    Args:
        source: pictures of the set.
        folder: folder relative to the set.

    Returns:
        File by name without suffix; the first file if several have one name.
    """
    found: dict[str, str] = {}
    for file in list_files(source, folder):
        path = PurePosixPath(file)
        if path.parent == PurePosixPath(folder) and path.suffix.lower() in PICTURE_SUFFIXES:
            found.setdefault(path.stem, file)
    return found


def bare_name(name: str, folder: str = "") -> str:
    """Return a picture's name as lists have it, without suffix.

    Args:
        name: file name relative to the set.
        folder: folder of the pictures, which is removed from the name.
    """
    path = PurePosixPath(name.removeprefix(f"{folder}/") if folder else name)
    return str(path.with_suffix("") if path.suffix.lower() in PICTURE_SUFFIXES else path)


def read_text(path: str | Path) -> str:
    """Read a small text; file names in it need not be UTF-8.

    Args:
        path: file, or s3://bucket/key.

    Returns:
        The text; bytes that are not UTF-8 as surrogates.

    Raises:
        DataError: the text is missing, empty, too large or contains zero bytes.
        StorageError: the store does not answer.
    """
    content = (
        _read_from_store(path)
        if isinstance(path, str) and SCHEME.match(path)
        else read_limited_bytes(Path(path), _TEXT_MEGABYTES)
    )
    text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise DataError(f"{path}: not a text file, it contains zero bytes; write it again")
    return text


def _read_from_store(path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    store = open_store(folder)
    try:
        size = store.size(name)
        if size > _TEXT_MEGABYTES * _MEGA:
            raise DataError(
                f"{path}: {size / _MEGA:.0f} MB exceed the limit of {_TEXT_MEGABYTES:g} MB; give a smaller file"
            )
        return store.read(name)
    except NoSuchObject:
        raise DataError(f"{printable(path)}: there is no such object; check the name") from None
