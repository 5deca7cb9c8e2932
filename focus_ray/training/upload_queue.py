"""Queue of checkpoints to upload: one at a time, the newest first; the others wait in memory."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Tree = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass
class _PendingUpload:
    step: int
    tree: Tree
    best: bool
    size: int
    done: "Future[None]" = field(default_factory=Future)


class UploadQueue:
    """Writes checkpoints in a separate thread, the newest first, because a run resumes from the newest.

    When the store is slow or down, memory stays bounded: the oldest pending checkpoints are dropped.
    """

    def __init__(self, write: Callable[[int, Tree, bool], None], max_bytes: int, note: Callable[[str], object]):
        """Start the thread.

        Args:
            write: called with (step, tree, best) to store a checkpoint.
            max_bytes: limit of the pending checkpoints.
            note: called with one line for each checkpoint that is dropped for this limit.
        """
        self._write = write
        self._max_bytes = max_bytes
        self._note = note
        self._pending: list[_PendingUpload] = []
        self._writing = False
        self._changed = threading.Condition()
        self._thread = ThreadPoolExecutor(1, "checkpoints")

    def add(self, step: int, tree: Tree, *, best: bool) -> "Future[None]":
        """Queue a checkpoint.

        A new best checkpoint replaces a pending best one. If the pending ones exceed `max_bytes`, the oldest are
        dropped, a best one last; the new one is never dropped here.

        Args:
            step: number of steps taken.
            tree: state; must not change afterwards.
            best: whether it is the best checkpoint so far.

        Returns:
            A future that is done when the checkpoint is written or dropped; it has the exception of `write`.
        """
        new = _PendingUpload(step, tree, best, tensor_bytes(tree))
        with self._changed:
            if best:
                for one in [one for one in self._pending if one.best]:
                    self._drop(one)
                    logger.info("checkpoint of step %d is not needed: that of step %d is better", one.step, step)
            while self._pending and sum(one.size for one in self._pending) + new.size > self._max_bytes:
                oldest = min(self._pending, key=lambda one: (one.best, one.step))
                self._drop(oldest)
                message = f"checkpoint of step {oldest.step} is dropped for that of step {step}: the store is slow"
                logger.warning(message)
                self._note(message)
            self._pending.append(new)
        self._thread.submit(self._write_next)
        return new.done

    def wait(self) -> None:
        """Wait until no checkpoint is pending or being written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending and not self._writing)

    def _drop(self, one: _PendingUpload) -> None:
        self._pending.remove(one)
        one.done.set_result(None)

    def _write_next(self) -> None:
        with self._changed:
            if not self._pending:  # it was dropped
                return
            one = max(self._pending, key=lambda one: one.step)
            self._pending.remove(one)
            self._writing = True
        try:
            self._write(one.step, one.tree, one.best)
        except BaseException as error:  # raised by the future's result()
            one.done.set_exception(error)
        else:
            one.done.set_result(None)
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


def tensor_bytes(tree: Any) -> int:
    """Return the total size of the tensors of a nested state, in bytes."""
    match tree:
        case Tensor():
            return tree.numel() * tree.element_size()
        case dict():
            return sum(tensor_bytes(value) for value in tree.values())
        case list() | tuple():
            return sum(tensor_bytes(value) for value in tree)
    return 0
