"""Store of outputs that are requested as links: in memory, bounded, and readable only with the same API key."""

import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import TTLCache

from focus_ray.serving.problems import Problem

_NAME_BYTES = 24  # random, so that names cannot be guessed


class _Result(NamedTuple):
    content: bytes
    media_type: str
    owner: str | None


def check_size(content: bytes, max_bytes: int) -> None:
    """Check that a store of this size can hold a result.

    Raises:
        Problem: the result is larger than the store.
    """
    if len(content) > max_bytes:
        raise Problem("unprocessable", "an output is larger than the store of links; use delivery=inline")


class InMemoryResultStore:
    """Results by name, in memory only. New ones replace the least recently used. Thread-safe."""

    def __init__(self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty store.

        Args:
            max_bytes: content of all results together.
            seconds: lifetime of a result.
            clock: time in seconds.
        """
        self.max_bytes = max_bytes
        self._results: TTLCache[str, _Result] = TTLCache(
            max_bytes, seconds, clock, getsizeof=lambda result: len(result.content)
        )
        self._lock = threading.Lock()

    def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Store a result under a random name.

        Args:
            content: bytes of the file.
            media_type: its type.
            owner: name of the client's key; None: anybody without a key.

        Returns:
            The name.

        Raises:
            Problem: the result is larger than the store.
        """
        check_size(content, self.max_bytes)
        name = secrets.token_urlsafe(_NAME_BYTES)
        with self._lock:
            self._results[name] = _Result(content, media_type, owner)
        return name

    def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """Return content and media type of a result; None for other owners and after its lifetime."""
        with self._lock:
            result = self._results.get(name)
        return None if result is None or result.owner != owner else (result.content, result.media_type)

    def __len__(self) -> int:
        return len(self._results)
