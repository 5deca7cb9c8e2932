"""Forwarding of a run's log records, with rank and step, from all processes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from focus_ray.runtime.callbacks import Callback

PACKAGE = "focus_ray"


@contextmanager
def forward_logs(callback: Callback, rank: int, current_step: Callable[[], int]) -> Iterator[None]:
    """Forward the package's log records of level INFO and above to the callback during the block.

    Args:
        callback: its `on_log` is called.
        rank: rank of this process in the run; -1: the driver.
        current_step: returns the current step; -1: unknown.
    """
    package = logging.getLogger(PACKAGE)
    handler = _CallbackLogHandler(callback, rank, current_step)
    shown = package.getEffectiveLevel()
    others = [handler for handler in logging.getLogger().handlers if handler.level < shown]
    levels = [other.level for other in others]
    for other in others:  # the terminal keeps its log level
        other.setLevel(shown)
    before = package.level
    package.setLevel(min(shown, logging.INFO))
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(before)
        for other, level in zip(others, levels, strict=True):
            other.setLevel(level)


class _CallbackLogHandler(logging.Handler):
    """Converts log records to flat dicts for `on_log`."""

    def __init__(self, callback: Callback, rank: int, current_step: Callable[[], int]):
        super().__init__(logging.INFO)
        self.callback = callback
        self.rank = rank
        self.current_step = current_step

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.callback.on_log(
                {
                    "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                    "level": record.levelname.lower(),
                    "rank": self.rank,
                    "step": self.current_step(),
                    "logger": record.name,
                    "message": record.getMessage(),
                }
            )
        except Exception:
            self.handleError(record)
