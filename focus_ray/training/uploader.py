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
    """The actor, on its worker's node; it ends with the worker."""

    def __init__(self, checkpoints: Checkpoints, queue: EventQueue, niceness: int):
        os.nice(niceness)
        self.checkpoints = checkpoints
        self.queue = queue

    def add(self, step: int, folder: str, best: bool) -> str | None:
        """Store a checkpoint; what was in the way, if anything. What is logged meanwhile reaches the run's log."""
        with event_sender(self.queue) as sender, forward_logs(sender, 0, lambda: step):
            try:
                self.checkpoints.add(step, Path(folder), best=best)
            except (StorageError, CheckpointError) as error:
                return str(error)
        return None


class CheckpointUploader:
    """The process that uploads a worker's checkpoints, one after the other."""

    def __init__(self, checkpoints: Checkpoints, queue: EventQueue):
        actor = pin_to_node(_UploaderActor, max_restarts=-1)
        self._actor: Any = actor.remote(checkpoints, queue, NICENESS)

    def add(self, step: int, folder: Path, *, best: bool) -> None:
        """Like `Checkpoints.add`. Raises StorageError."""
        try:
            problem = ray.get(self._actor.add.remote(step, str(folder), best))
        except RayError as error:
            raise StorageError(f"the process that uploads it ended: {error}") from error
        if problem is not None:
            raise StorageError(problem)
