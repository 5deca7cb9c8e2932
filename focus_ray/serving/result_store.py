"""Store of results that links lead to: in memory, bounded, and readable by the client that asked for them only."""

import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from focus_ray.serving.problems import Problem

_NAME_BYTES = 24  # of chance: nobody guesses a name


class _Result(NamedTuple):
    content: bytes
    media_type: str
    owner: str | None
    expires_at: float


def check_size(content: bytes, max_bytes: int) -> None:
    """Raises Problem for what could not be kept with everything else gone."""
    if len(content) > max_bytes:
        raise Problem(
            "unprocessable", "an output is larger than what is kept for links; ask for it with delivery=inline"
        )


class InMemoryResultStore:
    """Results by name. The oldest give way to new ones; nothing is written to a disk. Thread-safe."""

    def __init__(self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep each result so many seconds of the clock, and no more bytes of content than that in all."""
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._clock = clock
        self._results: dict[str, _Result] = {}  # oldest first
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Keep a result for a client (the name of its key; None: anybody without one) and return what it is called.

        Raises Problem where it is larger than all that may be kept.
        """
        check_size(content, self.max_bytes)
        name = secrets.token_urlsafe(_NAME_BYTES)
        with self._lock:
            now = self._clock()
            self._bytes += len(content)
            self._results[name] = _Result(content, media_type, owner, now + self.seconds)
            self._evict(now)
        return name

    def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """Content and media type, for the client whose result it is; None for others, and after its time."""
        with self._lock:
            self._evict(self._clock())
            result = self._results.get(name)
        return None if result is None or result.owner != owner else (result.content, result.media_type)

    def __len__(self) -> int:
        return len(self._results)

    def _evict(self, now: float) -> None:
        """All live equally long: what is to go stands first."""
        while self._results:
            oldest = next(iter(self._results))
            if self._bytes <= self.max_bytes and self._results[oldest].expires_at > now:
                return
            self._bytes -= len(self._results.pop(oldest).content)
