"""Shards on the local disk: those of a folder as they are, those of an object store fetched ahead, up to a bound."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from focus_ray.data.prepared.store_files import ShardDigest, shard_key
from focus_ray.errors import DataError, StorageError
from focus_ray.storage.atomic import is_unfinished
from focus_ray.storage.object_store import LocalStore, ObjectStore

_THREADS = 2
_CACHE_VARIABLE = "FOCUS_RAY_CACHE"  # as for face models
_CHUNK = 1 << 20


class ShardCache:
    """Reads parts of shards; thread-safe. Each shard is verified by its hash when it is first used.

    Shards of an object store are kept below `folder` by their hash, where other processes and later runs find them. If
    they exceed the bound, those that were not used for longest are deleted, and fetched again when needed.

    Args:
        store: the prepared store.
        shards: size and hash of each shard.
        megabytes: bound of the cache, MB; it has no effect on shards in a folder.
        folder: folder of the cache; None: in the user's cache folder.
    """

    def __init__(
        self, store: ObjectStore, shards: Iterable[ShardDigest], megabytes: float, folder: Path | None = None
    ) -> None:
        self.store = store
        self.shards = {one.shard: one for one in shards}
        self.megabytes = megabytes
        self.folder = folder or Path(os.environ.get(_CACHE_VARIABLE) or user_cache_path("focus-ray")) / "shards"
        self._open()

    def _open(self) -> None:
        self._lock = threading.RLock()
        self._pending: dict[int, Future[Path]] = {}
        self._ahead: deque[int] = deque()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="shards")

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("store", "shards", "megabytes", "folder")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Start to fetch shards, in this order; those that are there or on their way are skipped."""
        with self._lock:
            self._ahead.extend(numbers)
        self._fetch_ahead()

    def _fetch_ahead(self) -> None:
        """Keep each thread busy, with no queue behind it: a process that ends waits for what it has submitted."""
        with self._lock, suppress(RuntimeError):  # the interpreter shuts down
            while self._ahead and sum(not one.done() for one in self._pending.values()) < _THREADS:
                self._request(self._ahead.popleft())

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Read a part of a shard.

        Raises:
            DataError: the shard has another content than the store says.
            StorageError: the store does not answer, or the shard is missing.
        """
        for _ in range(2):  # another process may delete the file between the request and the read
            path = self._request(number).result()
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    return stream.read(size)
            except FileNotFoundError:
                self._forget(number)
            except OSError as error:
                raise StorageError(f"cannot read {path}: {error.strerror}; check the disk") from None
        raise StorageError(f"{self.folder} is emptied while it is used; set a larger data.shard_cache_mb")

    def _request(self, number: int) -> "Future[Path]":
        with self._lock:
            future = self._pending.get(number)
            if future is None:
                future = self._pending[number] = self._threads.submit(self._find, number)
                future.add_done_callback(lambda done: self._finish(number, done))
            return future

    def _finish(self, number: int, done: "Future[Path]") -> None:
        if done.exception() is not None:
            self._forget(number)
        self._fetch_ahead()

    def _forget(self, number: int) -> None:
        with self._lock:
            self._pending.pop(number, None)

    def _find(self, number: int) -> Path:
        wanted, key = self.shards[number], shard_key(number)
        if isinstance(self.store, LocalStore):
            path = self.store.path(key)
            self._verify(path, wanted)
            return path
        path = self.folder / f"{wanted.sha256}.tar"
        if not path.is_file() or path.stat().st_size != wanted.bytes:
            try:
                self._make_room(wanted.bytes)
            except OSError as error:
                raise StorageError(
                    f"cannot keep shards in {self.folder}: {error.strerror}; set {_CACHE_VARIABLE} to a folder that "
                    "can be written"
                ) from None
            self.store.download(key, path)
        self._verify(path, wanted)
        with suppress(OSError):  # another user's cache
            path.touch()  # used last
        return path

    def _verify(self, path: Path, wanted: ShardDigest) -> None:
        seen = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    seen.update(chunk)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}; prepare the set again") from None
        if seen.hexdigest() != wanted.sha256:
            if not isinstance(self.store, LocalStore):
                path.unlink(missing_ok=True)
            raise DataError(
                f"{self.store}/{shard_key(wanted.shard)}: the shard has another content than its hash says; "
                "prepare the set again"
            )

    def _make_room(self, size: int) -> None:
        """Delete the shards that were not used for longest until another one of this size fits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            found = []
            for path in self.folder.glob("*.tar"):
                try:
                    found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
                except FileNotFoundError:
                    continue
            room = self.megabytes * 1e6 - size - sum(length for _, length, _ in found)
            for _, length, path in sorted(found):
                if room >= 0:
                    break
                if not is_unfinished(path.name):
                    path.unlink(missing_ok=True)
                    room += length
            kept = {path.stem for path in self.folder.glob("*.tar")}
            for number, pending in list(self._pending.items()):
                if pending.done() and self.shards[number].sha256 not in kept:
                    del self._pending[number]
