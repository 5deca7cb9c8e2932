"""Garbage collection while a command starts."""

import gc
from types import TracebackType


class CollectionPause:
    """Garbage collection is off while a command imports modules, loads a model and does its first unit of work.

    What a start allocates stays in use: collections would traverse it again and again, and find nothing to free. They
    begin with the second unit of work or at the end of the context, and leave out the modules and the model.
    """

    def __init__(self) -> None:
        self._was_enabled = gc.isenabled()

    def __enter__(self) -> "CollectionPause":
        gc.disable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resume()

    def on_progress(self, done: int) -> None:
        """Take note of the progress: with 0 units done everything is loaded.

        Args:
            done: number of units done.
        """
        if done > 0:
            self._resume()
        elif self._was_enabled:
            gc.freeze()

    def _resume(self) -> None:
        if self._was_enabled:
            gc.enable()
