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
# Limit of S3.
MAX_KEY_BYTES = 1024
FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")


class Entry(NamedTuple):
    """An object of a store: its key and its size in bytes."""

    key: str
    size: int


# The stores have a method `list`, which hides the type `list` in their annotations.
Entries = list[Entry]


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys such as "checkpoints/step-00000250/state.json".

    Stores can be pickled, compare equal if they have the same location, and hold no credentials. Keys are relative to
    the store. Every method that takes a key raises ConfigError for one that is absolute, has empty parts, or leads
    upwards; all other failures are StorageErrors (NoSuchObject among them) that name the location and what to do.
    """

    def __str__(self) -> str:
        """Return the location as a user writes it: a folder, or s3://bucket/prefix."""
        ...

    def at(self, key: str) -> "ObjectStore":
        """Return the store of all objects below a key."""
        ...

    def read(self, key: str) -> bytes:
        """Return the content of an object.

        Raises:
            NoSuchObject: there is no object at the key.
        """
        ...

    def write(self, key: str, content: bytes) -> None:
        """Store an object atomically: a reader sees the old content or the new one, never a part."""
        ...

    def upload(self, path: Path, key: str) -> None:
        """Store a local file of any size, atomically.

        Raises:
            NoSuchObject: there is no file at the path.
        """
        ...

    def download(self, key: str, path: Path) -> None:
        """Copy an object of any size to a local file, atomically.

        Raises:
            NoSuchObject: there is no object at the key.
        """
        ...

    def size(self, key: str) -> int:
        """Return the size of an object in bytes.

        Raises:
            NoSuchObject: there is no object at the key.
        """
        ...

    def list(self, prefix: str = "", *, limit: int | None = None) -> Entries:
        """List the objects below a prefix, sorted by key.

        Args:
            prefix: a key without a trailing slash; "" for the whole store.
            limit: largest number of objects to return, an arbitrary choice of them; None for all.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects one after the other in the order given; absent ones are skipped."""
        ...

    def check(self) -> None:
        """Write, list, read back and delete a small object, without the long retries of the other methods.

        Raises:
            StorageError: the store cannot be used.
        """
        ...

    def filesystem(self) -> "tuple[pyarrow.fs.FileSystem, str]":
        """Return a pyarrow file system for Ray Train and Ray Data, and the path of this store on it."""
        ...


def validate_key(key: str) -> str:
    """Return the key if it is valid.

    Raises:
        ConfigError: the key is absolute, has empty parts, leads upwards, is too long or has forbidden characters.
    """
    parts = key.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or FORBIDDEN_CHARACTERS.search(key)
        or len(key.encode()) > MAX_KEY_BYTES
    ):
        raise ConfigError(f"{key[:80]!r} cannot be a key of a store; use names joined by single slashes")
    return key


def probe_store(store: ObjectStore) -> None:
    """Write, list, read back and delete a small object under a random key.

    Raises:
        StorageError: an operation fails, or the content read differs from the content written.
    """
    folder = f"focus-ray-probe-{uuid.uuid4().hex[:12]}"
    key, content = f"{folder}/probe", folder.encode()
    store.write(key, content)
    intact = store.read(key) == content and store.list(folder) == [Entry(key, len(content))]
    store.delete([key])
    if not intact:
        raise StorageError(f"{store} returns other content than was written to it; choose another location")


def read_error(path: Path, error: OSError) -> StorageError:
    """Return the StorageError for a file that cannot be read, NoSuchObject if it does not exist."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return NoSuchObject(f"there is no file {path}; check the path")
    return StorageError(f"cannot read {path}: {error.strerror or error}; check the disk and the permissions")


@dataclass(frozen=True)
class LocalStore:
    """A folder as an object store: its files are the objects; links that lead out of it are not followed."""

    root: Path

    def __post_init__(self) -> None:
        # Absolute, because a worker has another working folder.
        object.__setattr__(self, "root", Path(self.root).absolute())

    def __str__(self) -> str:
        return str(self.root)

    def at(self, key: str) -> "LocalStore":
        return LocalStore(self.path(key))

    def path(self, key: str) -> Path:
        """Return the path of the object of a key.

        Raises:
            ConfigError: the key is invalid.
            StorageError: a link in the path leads out of the store.
        """
        path = self.root / validate_key(key)
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):  # circular links
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
        """Yield every complete file below a folder; no links and no partial files."""
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not atomic.is_unfinished(name)]
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # deleted meanwhile
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and not atomic.is_unfinished(name):
                        yield Entry(path.relative_to(self.root).as_posix(), status.st_size)

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and its parents below the root while they are empty: object stores have no folders."""
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
