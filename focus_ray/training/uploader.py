"""Uploads of checkpoints in a process of their own, which gives way to training."""

import os
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.training.channel import Channel, on_this_node, sending
from focus_ray.training.logs import logging_to

NICENESS = 10


class _Uploads:
    """The actor. It lives on its worker's node, whose files it reads, and ends with the worker."""

    def __init__(self, checkpoints: Checkpoints, channel: Channel, niceness: int):
        os.nice(niceness)
        self.checkpoints = checkpoints
        self.channel = channel

    def add(self, step: int, folder: str, best: bool) -> str | None:
        """Store a checkpoint; what was in the way, if anything. What is logged meanwhile reaches the run's log."""
        with sending(self.channel) as sender, logging_to(sender, 0, lambda: step):
            try:
                self.checkpoints.add(step, Path(folder), best=best)
            except (StorageError, CheckpointError) as error:
                return str(error)
        return None


class Uploader:
    """The process that uploads a worker's checkpoints, one after the other."""

    def __init__(self, checkpoints: Checkpoints, channel: Channel):
        actor = on_this_node(_Uploads, max_restarts=-1)
        self._uploads: Any = actor.remote(checkpoints, channel, NICENESS)

    def add(self, step: int, folder: Path, *, best: bool) -> None:
        """Like `Checkpoints.add`. Raises StorageError."""
        try:
            problem = ray.get(self._uploads.add.remote(step, str(folder), best))
        except RayError as error:
            raise StorageError(f"the process that uploads it ended: {error}") from error
        if problem is not None:
            raise StorageError(problem)
