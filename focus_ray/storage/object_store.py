"""Object stores: bytes under keys, in a folder or in an S3 bucket, written atomically."""

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from focus_ray.errors import ConfigError, NoSuchObject, StorageError
from focus_ray.storage import atomic

if TYPE_CHECKING:
    import pyarrow.fs

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
# What S3 allows, in bytes.
MAX_KEY_BYTES = 1024
FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")


class Entry(NamedTuple):
    """An object of a store: its key and its size in bytes."""

    key: str
    size: int


# The stores have a method `list`, which hides the type of that name from annotations.
Entries = list[Entry]


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys such as "checkpoints/step-00000250/state.json".

    Stores can be pickled, compare equal where they mean the same place, and hold no credentials. Keys are relative to
    the store; ConfigError for one that is absolute, has empty parts, or leads upwards. Whatever a method raises besides
    is a StorageError that names the place and what to do.
    """

    def __str__(self) -> str:
        """The place as a user writes it: a folder, or s3://bucket/prefix."""
        ...

    def at(self, key: str) -> "ObjectStore":
        """The store of everything below a key."""
        ...

    def read(self, key: str) -> bytes:
        """The content of an object. Raises NoSuchObject if there is none."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Store an object; a reader sees the old content or the new one, never a part."""
        ...

    def upload(self, path: Path, key: str) -> None:
        """Store a local file of any size, atomically."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Copy an object of any size to a local file, atomically. Raises NoSuchObject if there is none."""
        ...

    def size(self, key: str) -> int:
        """The size of an object in bytes. Raises NoSuchObject if there is none."""
        ...

    def list(self, prefix: str = "", *, limit: int | None = None) -> Entries:
        """The objects below `prefix` (a key without a slash at its end; "" for the whole store), sorted by key.

        With a `limit`, only so many of them, whichever are quickest to find.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects one after the other in the order given; absent ones are skipped."""
        ...

    def check(self) -> None:
        """Write, list, read back and delete a small object. Raises StorageError at once for what will not pass."""
        ...

    def filesystem(self) -> "tuple[pyarrow.fs.FileSystem, str]":
        """For Ray Train and Ray Data: a file system of pyarrow, and the path of this store on it."""
        ...


def validate_key(key: str) -> str:
    """The key, if it can be one. Raises ConfigError."""
    parts = key.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or FORBIDDEN_CHARACTERS.search(key)
        or len(key.encode()) > MAX_KEY_BYTES
    ):
        raise ConfigError(f"{key[:80]!r} cannot be a key of a store; use names joined by single slashes")
    return key


def probe_store(store: ObjectStore) -> None:
    """Write, list, read back and delete a small object that nothing else uses. Raises StorageError."""
    folder = f"focus-ray-probe-{uuid.uuid4().hex[:12]}"
    key, content = f"{folder}/probe", folder.encode()
    store.write(key, content)
    intact = store.read(key) == content and store.list(folder) == [Entry(key, len(content))]
    store.delete([key])
    if not intact:
        raise StorageError(f"{store} does not give back what is written to it; choose another place")


def read_error(path: Path, error: OSError) -> StorageError:
    """What the operating system says about a file that cannot be read, NoSuchObject where there is none."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return NoSuchObject(f"there is no file {path}; check the path")
    return StorageError(f"cannot read {path}: {error.strerror or error}; check the disk and the permissions")


@dataclass(frozen=True)
class LocalStore:
    """A folder as an object store. Its files are the objects; links are not followed out of it."""

    root: Path

    def __post_init__(self) -> None:
        # Absolute, because a worker has another working folder.
        object.__setattr__(self, "root", Path(self.root).absolute())

    def __str__(self) -> str:
        return str(self.root)

    def at(self, key: str) -> "LocalStore":
        return LocalStore(self.path(key))

    def path(self, key: str) -> Path:
        """Where the object of a key lies. Raises StorageError if a link on the way leads out of the store."""
        path = self.root / validate_key(key)
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):  # links in a circle
            inside = False
        if not inside:
            raise StorageError(f"{path} leads out of {self.root}; remove the link")
        return path

    def read(self, key: str) -> bytes:
        path = self.path(key)
        try:
            return path.read_bytes()
        except OSError as error:
            raise read_error(path, error) from error

    def write(self, key: str, content: bytes) -> None:
        atomic.write_file(self.path(key), content)

    def upload(self, path: Path, key: str) -> None:
        _copy(Path(path), self.path(key))

    def download(self, key: str, path: Path) -> None:
        _copy(self.path(key), Path(path))

    def size(self, key: str) -> int:
        path = self.path(key)
        if not path.is_file():
            raise NoSuchObject(f"there is no file {path}; check the path")
        return path.stat().st_size

    def list(self, prefix: str = "", *, limit: int | None = None) -> Entries:
        return sorted(islice(self._walk(self.path(prefix) if prefix else self.root), limit))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.path(key)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                if path.is_file():
                    message = f"cannot delete {path}: {error.strerror}; check the permissions of its folder"
                    raise StorageError(message) from error
            self._remove_empty(path.parent)

    def check(self) -> None:
        probe_store(self)

    def filesystem(self) -> "tuple[pyarrow.fs.FileSystem, str]":
        import pyarrow.fs

        return pyarrow.fs.LocalFileSystem(), str(self.root)

    def _walk(self, top: Path) -> Iterator[Entry]:
        """Every whole file below a folder; neither links nor what is half written."""
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not atomic.is_unfinished(name)]
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # deleted meanwhile
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and not atomic.is_unfinished(name):
                        yield Entry(path.relative_to(self.root).as_posix(), status.st_size)

    def _remove_empty(self, folder: Path) -> None:
        """Object stores have no folders: one without files is not there."""
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent


def _copy(source: Path, target: Path) -> None:
    try:
        file = source.open("rb")
    except OSError as error:
        raise read_error(source, error) from error
    with file, atomic.new_file(target) as partial, partial.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
