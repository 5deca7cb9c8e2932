"""Ray Train worker: trains on its part of each batch."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.util.metrics import Gauge

from focus_ray.config import RunConfig
from focus_ray.data.sample import Batch
from focus_ray.errors import FocusRayError, GuardStop
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.runtime.callbacks import Callback, CallbackList
from focus_ray.runtime.logs import forward_logs
from focus_ray.runtime.step_record import StepRecord
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.storage.object_store import LocalStore, ObjectStore
from focus_ray.training.assemble import training_data
from focus_ray.training.batch_source import BatchSource, RayDataSource
from focus_ray.training.event_queue import ENDED, FAILED, EventQueue, EventSender, event_sender
from focus_ray.training.ray_checkpoint_sink import CHECKPOINTS, RayCheckpointSink
from focus_ray.training.run import Trainer
from focus_ray.training.uploader import CheckpointUploader


@dataclass(frozen=True)
class WorkerSpec:
    """Input of a worker. Contains no credentials."""

    config: RunConfig
    face: bytes
    store: ObjectStore
    channel: EventQueue
    threads: int | None  # of torch and numba, for each worker; None: unchanged
    data_workers: int  # processes that make batches, for each worker; 0: a thread of the worker
    run_dir: str  # the user's run folder, for --resume


def train_worker(loop_config: dict[str, Any]) -> None:
    """Train as one of several workers, and send events to the driver.

    Errors common to all workers (guard stop, invalid configuration) are sent to the driver, not raised: after an
    exception Ray would restart the workers, which would fail again.

    Args:
        loop_config: `assignment`: reference to a WorkerSpec.
    """
    assignment: WorkerSpec = ray.get(loop_config["assignment"])
    context = ray.train.get_context()
    replicas = ReplicaGroup(context.get_world_rank(), context.get_world_size())
    if assignment.threads is not None:
        torch.set_num_threads(assignment.threads)
    os.environ.setdefault("MPLBACKEND", "Agg")
    with event_sender(assignment.channel) as sender:
        run = _start_run(assignment, replicas, sender)
        if run is None:
            return
        metrics: dict[str, Any] | None = None
        failure: FocusRayError | None = None
        with forward_logs(sender, replicas.rank, lambda: run.state.step):
            try:
                metrics = run.run()
            except GuardStop as stop:
                metrics, failure = run.metrics(None, {}), stop
            except FocusRayError as error:
                failure = error
        if not replicas.is_main:
            return
        if metrics is not None:
            sender.send(ENDED, metrics)
        if failure is not None:
            report_failure(sender, failure)


def _start_run(spec: WorkerSpec, replicas: ReplicaGroup, sender: EventSender) -> Trainer | None:
    """Return the run at its newest checkpoint; None on all workers if it cannot start on one of them."""
    device = ray.train.torch.get_device()
    assert isinstance(device, torch.device)  # one device for each worker
    config = spec.config
    callback = CallbackList([sender, RayMetricsCallback()]) if replicas.is_main else Callback()
    uploader = make_uploader(spec) if replicas.is_main else None

    def put_together() -> Trainer:
        return Trainer(
            config,
            load_face_model(spec.face),
            RayCheckpointSink(spec.store, config.cadence.keep, replicas, callback, device, uploader),
            callback,
            replicas=replicas,
            device=device,
            source=ray_data_source(config, replicas, spec.data_workers, spec.face),
            run_dir=spec.run_dir,
            should_stop=lambda: sender.should_stop,
        )

    def restored(trainer: Trainer) -> Trainer:
        with forward_logs(sender, replicas.rank, lambda: trainer.state.step):
            trainer.restore()
        return trainer

    run = _on_all_workers(put_together, replicas, device, sender)
    return None if run is None else _on_all_workers(partial(restored, run), replicas, device, sender)


def _on_all_workers(
    call: Callable[[], Trainer], replicas: ReplicaGroup, device: torch.device, sender: EventSender
) -> Trainer | None:
    """Return the result of the call; None on all workers if it fails on one, which reports its error to the driver."""
    run, problem = None, None
    try:
        run = call()
    except FocusRayError as error:
        problem = error
    if not replicas.all_reduce_any(problem is not None, device):
        return run
    if problem is not None:
        report_failure(sender, problem)
    return None


def make_uploader(spec: WorkerSpec) -> CheckpointUploader | None:
    """Start the uploader of a remote store; None for a folder, to which the worker itself writes."""
    if isinstance(spec.store, LocalStore):
        return None
    checkpoints = Checkpoints(spec.store.at(CHECKPOINTS), keep=spec.config.cadence.keep)
    return CheckpointUploader(checkpoints, spec.channel)


def ray_data_source(config: RunConfig, replicas: ReplicaGroup, actors: int, face: bytes) -> BatchSource | None:
    """Return a source of batches from other processes.

    Args:
        config: the run's configuration.
        replicas: rank and number of the replicas.
        actors: number of processes for this worker.
        face: result of `MorphableModel.to_bytes` of the face model that is fitted.

    Returns:
        None if `actors` is 0.
    """
    if actors == 0:
        return None
    make = partial(make_batch_fn, config.model_dump_json(), replicas.rank, replicas.world_size, face)
    first = replicas.shard(config.batch_size).start
    return RayDataSource(make, config.schedule.total_steps, first, actors)


def make_batch_fn(config: str, rank: int, world: int, face: bytes) -> Callable[[int], Batch]:
    """Build a worker's function from step to batch, in another process.

    Args:
        config: RunConfig as JSON.
        rank: rank of the worker.
        world: number of workers.
        face: result of `MorphableModel.to_bytes` of the face model that is fitted.
    """
    resolved = RunConfig.model_validate_json(config)
    return training_data(resolved, ReplicaGroup(rank, world), face=load_face_model(face)).batch_of


def load_face_model(content: bytes) -> MorphableModel:
    """Load a face model from the result of `MorphableModel.to_bytes`."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        Path(file.name).write_bytes(content)
        return MorphableModel.load(file.name)


def report_failure(sender: EventSender, error: FocusRayError) -> None:
    """Send an error to the driver, which raises it."""
    sender.send(FAILED, type(error).__name__, str(error))


class RayMetricsCallback(Callback):
    """Exports the run as Ray metrics for Prometheus."""

    def __init__(self) -> None:
        self.steps = Gauge("focus_ray_step", "Steps taken")
        self.rate = Gauge("focus_ray_images_per_second", "Images of the global batch a second, last step")
        self.busy = Gauge("focus_ray_busy_share", "Share of the last step that was not spent waiting for data")
        self.loss = Gauge("focus_ray_loss", "Total loss of the last step", tag_keys=("phase",))
        self.mask = Gauge("focus_ray_mask_mean", "Mean mask inside the rendered region, last step")

    def on_step_end(self, record: StepRecord) -> None:
        self.steps.set(record.step + 1)
        self.rate.set(record.images_per_s)
        self.busy.set(1 - record.data_seconds / record.seconds if record.seconds else 1.0)
        if (total := record.metrics.losses.get("total")) is not None:
            self.loss.set(total, tags={"phase": str(record.position.phase)})
        if record.metrics.mask_mean is not None:
            self.mask.set(record.metrics.mask_mean)
