"""Graceful shutdown: SIGINT and SIGTERM set a flag that the training loop checks after each step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_shutdown() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask instead of ending the process, the second one ends it. Yields whether one came."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # somebody else answers signals then
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@contextmanager
def sigterm_as_sigint() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: for libraries that have an answer to the latter alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
