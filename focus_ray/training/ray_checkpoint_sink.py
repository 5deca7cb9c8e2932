"""Checkpoints under Ray Train: uploaded in the background and reported to Ray when complete.

Retention and the choice of the checkpoint to resume from depend on the content of the store only, not on Ray's state:
so they are the same for another driver, version of Ray or number of workers.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from torch import Tensor

from focus_ray import model
from focus_ray.errors import CheckpointError, FocusRayError, StorageError
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.runtime.callbacks import Callback
from focus_ray.storage import artifact_store, checkpoint
from focus_ray.storage.checkpoint import MODEL, Checkpoints, StoredCheckpoint, folder_name
from focus_ray.storage.object_store import ObjectStore
from focus_ray.training.upload_queue import UploadQueue
from focus_ray.training.uploader import CheckpointUploader

CHECKPOINTS = "checkpoints"
# Of the checkpoints in memory that wait for upload; beyond it the oldest are dropped.
MAX_PENDING_BYTES = 2 << 30
# Checkpoints lost in a row before the run stops.
MAX_CONSECUTIVE_FAILURES = 3

logger = logging.getLogger(__name__)


class RayCheckpointSink:
    """`CheckpointSink` of one replica. Ray Train requires reports of all ranks; only rank 0's has content."""

    def __init__(
        self,
        store: ObjectStore,
        keep: int,
        replicas: ReplicaGroup,
        callback: Callback,
        device: torch.device,
        uploader: CheckpointUploader | None = None,
    ):
        """Open the store.

        Args:
            store: store of checkpoints and model.
            keep: number of newest checkpoints to keep.
            replicas: rank and number of the replicas.
            callback: receives messages, and `on_save` after an upload.
            device: device for reductions between replicas.
            uploader: process that uploads; None: a thread of this process.
        """
        self.store = store
        self.checkpoints = Checkpoints(store.at(CHECKPOINTS), keep=keep)
        self.replicas = replicas
        self.callback = callback
        self.device = device
        self._filesystem, self._root = store.filesystem()
        self._uploader = uploader
        self.last_saved_step = 0
        # Not in Ray's upload thread: it starts an upload only after the controller has polled the one before.
        self._upload_queue = UploadQueue(self._upload, MAX_PENDING_BYTES, callback.on_message)
        self._consecutive_failures = 0
        self._stored_steps: list[int] = []  # by this process

    def save(self, step: int, tree: dict[str, Any], *, best: bool, last: bool) -> None:
        """Report the state of a step; it is uploaded in the background.

        Args:
            step: number of steps taken.
            tree: state; copied, so it may change after the call.
            best: whether it is the best checkpoint so far.
            last: whether to wait for the upload.

        Raises:
            StorageError: MAX_CONSECUTIVE_FAILURES checkpoints in a row were lost; raised on all replicas.
        """
        if self.replicas.all_reduce_any(self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES, self.device):
            raise StorageError(
                f"{MAX_CONSECUTIVE_FAILURES} checkpoints in a row could not be written to {self.store}; fix the store, "
                "then resume"
            )
        self._report(step, copy_to_cpu(tree) if self.replicas.is_main else None, best)
        if last:
            self.wait()

    def _report(self, step: int, tree: dict[str, Any] | None, best: bool) -> None:
        metrics = {"step": step}
        if tree is None:  # non-zero ranks do not track upload status
            self.last_saved_step = step
            ray.train.report(metrics, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
            return
        place = Checkpoint(f"{self._root}/{CHECKPOINTS}/{folder_name(step)}", self._filesystem)
        uploaded = self._upload_queue.add(step, tree, best=best)

        def upload(checkpoint: Checkpoint, _: str) -> Checkpoint:
            uploaded.result()
            return checkpoint

        ray.train.report(
            metrics,
            checkpoint=place,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=upload,
            delete_local_checkpoint_after_upload=False,
        )

    def _upload(self, step: int, tree: dict[str, Any], best: bool) -> None:
        """Write a checkpoint; an error of the store loses this checkpoint but does not end the run."""
        if not best and sum(newer > step for newer in self._stored_steps) >= self.checkpoints.keep:
            logger.info("checkpoint of step %d is not needed: enough newer ones are stored", step)
            return
        try:
            self._write(step, tree, best)
        except (StorageError, CheckpointError) as error:
            self._consecutive_failures += 1
            message = f"checkpoint of step {step} is lost: {error}"
            logger.warning(message)
            self.callback.on_message(message)
        else:
            self._consecutive_failures = 0
            self._stored_steps.append(step)
            self.last_saved_step = max(self.last_saved_step, step)
            logger.info("checkpoint of step %d is whole", step)
            self.callback.on_save(step)

    def _write(self, step: int, tree: dict[str, Any], best: bool) -> None:
        if self._uploader is None:
            self.checkpoints.save(step, tree, best=best)
            return
        with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
            folder = Path(scratch) / folder_name(step)
            checkpoint.save(folder, tree)
            self._uploader.add(step, folder, best=best)

    def wait(self) -> None:
        """Wait until no upload is in flight."""
        self._upload_queue.wait()

    def latest(self) -> StoredCheckpoint | None:
        """Return the newest valid checkpoint, None if there is none; rank 0 chooses the step for all replicas.

        Raises:
            CheckpointError: all checkpoints are damaged.
            StorageError: the store cannot be read.
        """
        stored, problem = None, None
        if self.replicas.is_main:
            try:
                stored = self.checkpoints.latest()
            except FocusRayError as error:  # raised after the gather, for which the other ranks wait
                problem = error
        step = -1 if stored is None else stored.step
        chosen = int(self.replicas.all_gather(torch.tensor([step], device=self.device))[0])
        if problem is not None:
            raise problem
        if self.replicas.is_main:
            if stored is not None:
                self.last_saved_step = stored.step
                for message in stored.skipped:
                    self.callback.on_message(message)
            return stored
        return None if chosen < 0 else self.checkpoints.load(chosen)

    def save_model(self, bundle: model.Model) -> None:
        with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
            folder = Path(scratch) / MODEL
            model.save(folder, bundle)
            artifact_store.upload(self.store, folder, MODEL)


def copy_to_cpu(tree: Any) -> Any:
    """Copy a nested state: all tensors are copied to the CPU, so that training may change the original."""
    match tree:
        case Tensor():
            return tree.detach().to("cpu", copy=True)
        case dict():
            return {key: copy_to_cpu(value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(copy_to_cpu(value) for value in tree)
    return tree
