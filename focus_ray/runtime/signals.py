"""Graceful shutdown: SIGINT and SIGTERM set a flag that the training loop checks after each step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_shutdown() -> Iterator[Callable[[], bool]]:
    """Set a flag at the first Ctrl-C or SIGTERM; the second one is handled as before the block.

    Outside the main thread, signals are not handled and the flag is never set.

    Yields:
        A function that returns the flag.
    """
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, receive)
    try:
        yield lambda: bool(received)
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@contextmanager
def sigterm_as_sigint() -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C during the block, for libraries that handle only Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
