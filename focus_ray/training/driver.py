"""Driver of a run on a Ray cluster: starts the workers, records their events, writes the result."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focus_ray import errors
from focus_ray.config import RunConfig
from focus_ray.errors import ClusterError, ConfigError, FocusRayError, Interrupted
from focus_ray.runtime.callbacks import Callback, CallbackList
from focus_ray.runtime.logs import forward_logs
from focus_ray.runtime.ray_cluster import ClusterSettings, connect_ray, missing_resources
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.storage import artifact_store
from focus_ray.storage.checkpoint import MODEL
from focus_ray.storage.object_store import LocalStore, ObjectStore
from focus_ray.storage.open_store import open_store
from focus_ray.tracking.mlflow_tracker import MlflowTracker, TrackingSettings, track
from focus_ray.training.missing_landmarks import detected_landmarks
from focus_ray.training.prepare import PreparedRun, RunRequest, prepare
from focus_ray.training.recorder import Recorder
from focus_ray.training.run import Trainer
from focus_ray.training.run_folder_sync import RAY_SNAPSHOT, RunFolderSync

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

    from focus_ray.training.event_queue import EventQueue

POLL_SECONDS = 0.5


def train(
    config: RunConfig | None,
    out: Path,
    cluster: ClusterSettings,
    *,
    storage: str | None = None,
    experiment: str = "focus",
    promote: bool = False,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Train with Ray Train into the folder `out`, or resume the run there.

    Args:
        config: configuration of a new run; None: resume the run in `out`.
        out: run folder.
        cluster: workers and their resources.
        storage: URI of the store; checkpoints and model are written to `storage`/NAME, NAME being the name of `out`.
            None: to the run folder.
        experiment: MLflow experiment that the run folder is sent to.
        promote: whether the finished model gets the alias `production` in MLflow.
        callback: receives the events of the run.

    Returns:
        The content of metrics.json.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, and the run can be resumed.
        GuardStop: a guard ended the run.
        ConfigError: the configuration, the folder or the number of workers cannot be used.
        DataError: the photographs cannot be used.
        CheckpointError: a checkpoint or a file of weights is damaged or does not fit.
        StorageError: the store cannot be written.
        ClusterError: Ray cannot be started or reached, or too many workers failed.
    """
    prepared = prepare(RunRequest(config, out, storage, experiment))
    folder = prepared.folder
    store = checkpoint_store(prepared)
    callback = callback or Callback()
    try:
        check_workers(prepared, cluster)
        if is_remote(prepared, store):
            store.check()
        with detected_landmarks(prepared, cluster, callback), graceful_shutdown() as interrupted:
            validate_run(prepared)
            prepared.acquire()
            with (
                attach_callbacks(prepared, store, cluster, callback, promote=promote) as callbacks,
                connect_ray(cluster) as decided,
            ):
                return TrainingDriver(prepared, store, decided, callbacks).run(interrupted)
    except KeyboardInterrupt:
        if not folder.config_file.is_file():
            raise
        raise Interrupted(f"stopped; resume {folder.path} to continue") from None
    finally:
        folder.close()


@contextmanager
def attach_callbacks(
    prepared: PreparedRun, store: ObjectStore, cluster: ClusterSettings, callback: Callback, *, promote: bool
) -> Iterator[Callback]:
    """Attach the callbacks of a run: recorder, run folder sync, log forwarding, MLflow.

    Args:
        prepared: the run, whose folder is acquired.
        store: store of the checkpoints.
        cluster: its settings become tags of the MLflow run.
        callback: the caller's own callback.
        promote: whether the finished model gets the alias `production` in MLflow.

    Yields:
        One callback that calls all of them.
    """
    folder = prepared.folder
    callbacks: list[Callback] = [Recorder(folder), callback]
    folder_sync = RunFolderSync(folder.path, store) if is_remote(prepared, store) else None
    if folder_sync is not None:
        callbacks.append(folder_sync)
        folder_sync.on_save(0)  # the store has the run from its start
    tracking = TrackingSettings(experiment=prepared.info.experiment)
    tags = {"cluster.workers": str(cluster.workers), "cluster.gpu": str(cluster.gpu).lower()}
    tracker = MlflowTracker(folder.path, tracking, callback.on_message, tags=tags)
    tracker.start()
    together = CallbackList(callbacks)
    finished = False
    try:
        with forward_logs(together, rank=-1, current_step=lambda: -1):
            yield together
        finished = True
    finally:
        sent = tracker.close(finished=finished)
        if finished and promote and sent.complete:
            track(folder.path, tracking, promote=True, note=callback.on_message)
        if folder_sync is not None:
            folder_sync.close()


def checkpoint_store(prepared: PreparedRun) -> ObjectStore:
    """Return the store of the run's checkpoints and model."""
    info = prepared.info
    return LocalStore(prepared.folder.path) if info.storage is None else open_store(info.storage).at(info.name)


def is_remote(prepared: PreparedRun, store: ObjectStore) -> bool:
    """Return whether the store is not the run folder."""
    return store != LocalStore(prepared.folder.path)


def check_workers(prepared: PreparedRun, cluster: ClusterSettings) -> None:
    """Check that the workers can share each batch.

    Raises:
        ConfigError: there are more workers than images in a batch.
    """
    smallest = min(prepared.config.batch_size, prepared.config.warmup.batch_size)
    if cluster.workers > smallest:
        raise ConfigError(f"{cluster.workers} workers cannot share a batch of {smallest}; ask for fewer workers")


def validate_run(prepared: PreparedRun) -> None:
    """Assemble the run once on the driver, so that errors appear before workers start.

    Raises:
        ConfigError: the configuration cannot be used.
        DataError: the photographs cannot be used.
        CheckpointError: a file of weights does not fit.
    """
    Trainer(prepared.config, prepared.face, _NoOpCheckpointSink(), Callback(), run_dir=str(prepared.folder.path))


class _NoOpCheckpointSink:
    """Sink of a run that is assembled but not trained."""

    last_saved_step = 0

    def save(self, step: int, tree: dict[str, Any], *, best: bool, last: bool) -> None:
        raise NotImplementedError

    def latest(self) -> None:
        return None

    def save_model(self, bundle: Any) -> None:
        raise NotImplementedError


class TrainingDriver:
    """Driver of a run: starts and watches the workers, and writes the result."""

    def __init__(self, prepared: PreparedRun, store: ObjectStore, cluster: ClusterSettings, callback: Callback):
        self.prepared = prepared
        self.folder = prepared.folder
        self.store = store
        self.cluster = cluster
        self.callback = callback
        self.metrics: dict[str, Any] | None = None
        self.failure: FocusRayError | None = None

    def run(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Train on the workers, and write metrics.json, the model and the report.

        Args:
            should_stop: polled; once true, the workers stop after the current step and a checkpoint.

        Returns:
            The content of metrics.json.

        Raises:
            FocusRayError: the error that the workers reported, with its type.
            ClusterError: the workers ended without metrics and without an error.
        """
        import ray

        from focus_ray.training.event_queue import dispatch, open_event_queue

        # The snapshot of an earlier driver lists checkpoints that are deleted; Ray would refuse to start with it.
        self.store.delete([RAY_SNAPSHOT])
        waits = missing_resources(self.cluster)
        channel = open_event_queue()
        fit = _Thread(build_torch_trainer(self.prepared, self.store, self.cluster, channel).fit)
        fit.start()
        if waits is not None:
            self.callback.on_message(waits)
        stop_sent = False
        while fit.is_alive():
            if should_stop() and not stop_sent:
                stop_sent = True
                ray.get(channel.stop.remote())
                self.callback.on_message("stopping after this step and its checkpoint")
            dispatch(ray.get(channel.take.remote(POLL_SECONDS)), self.callback, self._on_end)
        fit.join()
        dispatch(ray.get(channel.take.remote(0.0)), self.callback, self._on_end)
        return self._finish(fit.error)

    def _on_end(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle the final event of the workers: ENDED with metrics, or FAILED with an error."""
        from focus_ray.training.event_queue import ENDED

        if event == ENDED:
            (self.metrics,) = arguments
        else:
            name, message = arguments
            self.failure = getattr(errors, name)(message)

    def _finish(self, error: BaseException | None) -> dict[str, Any]:
        """Write metrics, model and report, also after a failure; return the metrics or raise the failure."""
        if self.metrics is not None:
            self.folder.write_json("metrics.json", self.metrics)
            if self.metrics["model_version"] is not None and is_remote(self.prepared, self.store):
                artifact_store.fetch(self.store, MODEL, self.folder.model_folder, MODEL)
        from focus_ray.tracking.run_report import write_report  # imports matplotlib, which workers do not need

        write_report(self.folder.path)
        if self.failure is not None:
            raise self.failure
        if self.metrics is not None:
            return self.metrics
        reason = (
            " ".join(str(error).split())[-300:] if error is not None else "workers exited without reporting a result"
        )
        raise ClusterError(
            f"training ended on the cluster: {reason}; checkpoints are kept, resume {self.folder.path} to continue"
        )


class _Thread(threading.Thread):
    """Runs a call in a thread and keeps its exception; the main thread stays free for signals."""

    def __init__(self, call: Callable[[], object]):
        super().__init__(name="ray train", daemon=True)
        self._call = call
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self.error = error


def build_torch_trainer(
    prepared: PreparedRun, store: ObjectStore, cluster: ClusterSettings, queue: "EventQueue"
) -> "TorchTrainer":
    """Build Ray Train's trainer of a run.

    Args:
        prepared: the run.
        store: store of checkpoints and model, and of Ray's own state.
        cluster: number of workers and their resources.
        queue: event queue to the driver.
    """
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from focus_ray.training.worker import WorkerSpec, train_worker

    assignment = WorkerSpec(
        config=prepared.config,
        face=prepared.face.to_bytes(),
        store=store,
        channel=queue,
        threads=cluster.cpus_per_worker,
        data_workers=cluster.data_workers,
        run_dir=str(prepared.folder.path),
    )
    filesystem, path = store.filesystem()
    parent, _, name = path.rstrip("/").rpartition("/")
    return TorchTrainer(
        train_worker,
        train_loop_config={"assignment": ray.put(assignment)},
        scaling_config=ScalingConfig(
            num_workers=cluster.workers,
            use_gpu=cluster.gpu,
            resources_per_worker={"CPU": cluster.cpus_per_worker or 1} | ({"GPU": 1} if cluster.gpu else {}),
        ),
        torch_config=TorchConfig(backend="nccl" if cluster.gpu else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=parent or "/",
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=cluster.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=None),
        ),
    )
