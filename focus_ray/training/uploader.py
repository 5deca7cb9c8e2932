"""Uploads checkpoints in a separate low-priority process."""

import os
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.runtime.logs import forward_logs
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.training.event_queue import EventQueue, event_sender, pin_to_node

NICENESS = 10


class _UploaderActor:
    """Actor on its worker's node; it ends with the worker."""

    def __init__(self, checkpoints: Checkpoints, queue: EventQueue, niceness: int):
        os.nice(niceness)
        self.checkpoints = checkpoints
        self.queue = queue

    def add(self, step: int, folder: str, best: bool) -> str | None:
        """Store a checkpoint; return the error's message, or None. Log records are forwarded to the run's log."""
        with event_sender(self.queue) as sender, forward_logs(sender, 0, lambda: step):
            try:
                self.checkpoints.add(step, Path(folder), best=best)
            except (StorageError, CheckpointError) as error:
                return str(error)
        return None


class CheckpointUploader:
    """Handle of the process that uploads a worker's checkpoints, one after the other."""

    def __init__(self, checkpoints: Checkpoints, queue: EventQueue):
        actor = pin_to_node(_UploaderActor, max_restarts=-1)
        self._actor: Any = actor.remote(checkpoints, queue, NICENESS)

    def add(self, step: int, folder: Path, *, best: bool) -> None:
        """Store a checkpoint, like `Checkpoints.add`.

        Args:
            step: number of steps taken.
            folder: folder of the checkpoint on this node.
            best: whether it is the best checkpoint so far.

        Raises:
            StorageError: the store cannot be written, or the process ended.
        """
        try:
            problem = ray.get(self._actor.add.remote(step, str(folder), best))
        except RayError as error:
            raise StorageError(f"the upload process ended: {error}") from error
        if problem is not None:
            raise StorageError(problem)
