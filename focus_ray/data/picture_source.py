"""Source of photographs, a folder or an object store: bytes by name, or the reason why there are none."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from focus_ray.data.image_file import DEFAULT_LIMITS, ImageLimits, check_bytes, read_content
from focus_ray.errors import ConfigError, DataError, ImageError, NoSuchObject, StorageError, printable
from focus_ray.storage.object_store import SCHEME, ObjectStore
from focus_ray.storage.open_store import open_store

# Requests to a store at the same time, and pictures that are fetched before they are asked for.
_THREADS, _PREFETCH = 8, 16

Contents = Iterator[tuple[str, Callable[[], bytes]]]
"""Names in their order, each with a call that returns the bytes of its picture or raises why not."""


@runtime_checkable
class PictureSource(Protocol):
    """A place with pictures. Sources can be pickled."""

    def __str__(self) -> str:
        """The place as a user writes it."""
        ...

    def location(self, name: str) -> str:
        """Where a picture lies, as it may stand in a message."""
        ...

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name. Raises StorageError where the place does not answer."""
        ...

    def contents(self, names: Iterable[str]) -> Contents:
        """The bytes of pictures, in order.

        The calls raise ImageError for a picture that is missing or too large, which is told before it is read, or
        cannot be read; StorageError where the whole place does not answer.
        """
        ...

    def failure_reason(self, name: str) -> str:
        """What is the matter with a picture that could not be read, in one or two words."""
        ...


def open_picture_source(location: str | Path, limits: ImageLimits = DEFAULT_LIMITS) -> PictureSource:
    """The pictures in a folder, or below s3://bucket/prefix.

    Raises DataError where there is no such folder or nothing below the prefix, ConfigError for a URI that is no store,
    StorageError for a store that does not answer.
    """
    if not (isinstance(location, str) and SCHEME.match(location)):
        return FolderPictures(Path(location), limits)
    store = open_store(location)
    if not store.list(limit=1):
        raise DataError(f"{store}: there are no photographs; check bucket and prefix")
    return ObjectStorePictures(store, limits)


class FolderPictures:
    """The pictures in a folder of this machine."""

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

    def contents(self, names: Iterable[str]) -> Contents:
        for name in names:
            yield name, partial(read_content, self.folder / name, self.limits)

    def failure_reason(self, name: str) -> str:
        return "unreadable" if (self.folder / name).exists() else "missing"


class ObjectStorePictures:
    """The pictures in an object store. Its answers take their time, so several are asked for at once."""

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
            raise ImageError(f"{place}: there is no such object; check the name and where the pictures lie") from None
        except StorageError as error:
            self.store.list(name, limit=1)  # raises where the store is down, and not this picture alone
            self._reasons[name] = "not fetched"
            raise ImageError(f"{place}: the picture cannot be fetched: {error}") from None
