"""Source of photographs, a folder or an object store: bytes by name, or the error of a picture."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from focus_ray.data.image_file import DEFAULT_LIMITS, ImageLimits, check_bytes, read_content
from focus_ray.data.picture_folder import is_named_as_picture, list_pictures
from focus_ray.errors import ConfigError, DataError, ImageError, NoSuchObject, StorageError, printable
from focus_ray.storage.object_store import SCHEME, ObjectStore
from focus_ray.storage.open_store import open_store

# Concurrent requests to a store, and pictures that are fetched in advance.
_THREADS, _PREFETCH = 8, 16

Contents = Iterator[tuple[str, Callable[[], bytes]]]
"""Names in their order, each with a function that returns the bytes of the picture or raises ImageError."""


@dataclass(frozen=True)
class PictureListing:
    """The pictures of a source.

    Attributes:
        versions: a text for each picture, in order of the names; it changes with the picture (in a folder: size
            and time of change; in an object store: size).
        left_out: number of other entries by reason.
    """

    versions: dict[str, str]
    left_out: Counter[str]


@runtime_checkable
class PictureSource(Protocol):
    """A place with pictures; sources can be pickled."""

    def __str__(self) -> str:
        """Return the place as a user writes it."""
        ...

    def location(self, name: str) -> str:
        """Return the place of a picture for messages."""
        ...

    def holds(self, name: str) -> bool:
        """Return whether there is a file of this name.

        Raises:
            StorageError: the place does not answer.
        """
        ...

    def list_pictures(self, *, recursive: bool, exclude: str | None = None) -> PictureListing:
        """List the pictures; entries whose name begins with a dot are ignored.

        Args:
            recursive: whether subfolders are listed too.
            exclude: name of a subfolder to ignore.

        Raises:
            DataError: the folder cannot be listed.
            StorageError: the place does not answer.
        """
        ...

    def contents(self, names: Iterable[str]) -> Contents:
        """Read pictures in order.

        The calls raise ImageError for a picture that is missing, too large (checked before it is read) or unreadable,
        and StorageError if the whole place does not answer.

        Args:
            names: names of the pictures.

        Yields:
            The name of each picture and a call that returns its bytes.
        """
        ...

    def failure_reason(self, name: str) -> str:
        """Return why a picture could not be read, in one or two words."""
        ...


def open_picture_source(location: str | Path, limits: ImageLimits = DEFAULT_LIMITS) -> PictureSource:
    """Open a folder of pictures, or the pictures below s3://bucket/prefix.

    Args:
        location: folder or URI.
        limits: largest size of a picture.

    Raises:
        DataError: there is no such folder, or nothing below the prefix.
        ConfigError: the URI is not a store.
        StorageError: the store does not answer.
    """
    if not (isinstance(location, str) and SCHEME.match(location)):
        return FolderPictures(Path(location), limits)
    store = open_store(location)
    if not store.list(limit=1):
        raise DataError(f"{store}: there are no photographs; check bucket and prefix")
    return ObjectStorePictures(store, limits)


class FolderPictures:
    """The pictures in a folder of this machine.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path, limits: ImageLimits = DEFAULT_LIMITS):
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder of photographs; check the path")
        self.folder = folder
        self.limits = limits

    def __str__(self) -> str:
        return str(self.folder)

    def location(self, name: str) -> str:
        return printable(self.folder / name)

    def holds(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def list_pictures(self, *, recursive: bool, exclude: str | None = None) -> PictureListing:
        left_out = None if exclude is None else self.folder / exclude
        try:
            listing = list_pictures(self.folder, recursive=recursive, exclude=left_out)
        except OSError as error:
            raise DataError(f"{self.folder} cannot be listed ({error.strerror}); check the permissions") from None
        versions = {path.relative_to(self.folder).as_posix(): _file_version(path) for path in listing.pictures}
        return PictureListing(dict(sorted(versions.items())), Counter(listing.left_out.values()))

    def contents(self, names: Iterable[str]) -> Contents:
        for name in names:
            yield name, partial(read_content, self.folder / name, self.limits)

    def failure_reason(self, name: str) -> str:
        return "unreadable" if (self.folder / name).exists() else "missing"


class ObjectStorePictures:
    """The pictures in an object store; several are requested at once because of its latency."""

    def __init__(self, store: ObjectStore, limits: ImageLimits = DEFAULT_LIMITS):
        self.store = store
        self.limits = limits
        self._reasons: dict[str, str] = {}

    def __str__(self) -> str:
        return str(self.store)

    def location(self, name: str) -> str:
        return printable(f"{self.store}/{name}")

    def holds(self, name: str) -> bool:
        try:
            self.store.size(name)
        except (NoSuchObject, ConfigError, UnicodeError):  # a file may have a name that no object can have
            return False
        return True

    def list_pictures(self, *, recursive: bool, exclude: str | None = None) -> PictureListing:
        versions: dict[str, str] = {}
        left_out: Counter[str] = Counter()
        for key, size in self.store.list():
            path = PurePosixPath(key)
            if any(part.startswith(".") for part in path.parts) or (exclude and path.is_relative_to(exclude)):
                continue
            if not recursive and len(path.parts) > 1:
                left_out["subfolder"] += 1
            elif is_named_as_picture(path):
                versions[key] = str(size)
            else:
                left_out["no picture"] += 1
        return PictureListing(versions, left_out)

    def contents(self, names: Iterable[str]) -> Contents:
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures")
        fetched: deque[tuple[str, Callable[[], bytes]]] = deque()
        try:
            for name in names:
                fetched.append((name, threads.submit(self._content, name).result))
                if len(fetched) > _PREFETCH:
                    yield fetched.popleft()
            while fetched:
                yield fetched.popleft()
        finally:
            threads.shutdown(cancel_futures=True)

    def failure_reason(self, name: str) -> str:
        return self._reasons.get(name, "unreadable")

    def _content(self, name: str) -> bytes:
        place = self.location(name)
        try:
            check_bytes(place, self.store.size(name), self.limits)
            return self.store.read(name)
        except (NoSuchObject, ConfigError, UnicodeError):  # a file may have a name that no object can have
            self._reasons[name] = "missing"
            raise ImageError(f"{place}: there is no such object; check the name, the bucket and the prefix") from None
        except StorageError as error:
            self.store.list(name, limit=1)  # raises if the whole store is down
            self._reasons[name] = "not fetched"
            raise ImageError(f"{place}: the picture cannot be fetched: {error}") from None


def _file_version(path: Path) -> str:
    """Return size and time of change of a file; of an unreadable one nothing."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
