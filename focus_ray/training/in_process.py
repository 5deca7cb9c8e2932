"""Training in this process, without a cluster: for debugging and for Python."""

from pathlib import Path
from typing import Any

import torch

from focus_ray import model
from focus_ray.config import RunConfig
from focus_ray.errors import ConfigError, GuardStop, Interrupted
from focus_ray.runtime.callbacks import Callback, CallbackList
from focus_ray.runtime.logs import forward_logs
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.storage.checkpoint import StoredCheckpoint
from focus_ray.tracking.run_report import write_report
from focus_ray.training.missing_landmarks import detect_missing, lacks_landmarks
from focus_ray.training.prepare import PreparedRun, RunRequest, prepare
from focus_ray.training.recorder import Recorder
from focus_ray.training.run import Trainer


def train(
    config: RunConfig | None,
    out: Path,
    *,
    callback: Callback | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Train into the folder `out`, or resume the run there.

    Args:
        config: configuration of a new run; None: resume the run in `out`.
        out: run folder.
        callback: receives the events of the run.
        device: device of the training.

    Returns:
        The content of metrics.json.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, and the run can be resumed; between two steps a checkpoint is written first.
        GuardStop: a guard ended the run.
        ConfigError: the configuration, the folder or the device cannot be used.
        DataError: the photographs cannot be used.
        CheckpointError: a checkpoint or a file of weights is damaged or does not fit.
        StorageError: the disk cannot be written.
    """
    prepared = prepare(RunRequest(config, out))
    folder = prepared.folder
    validate_in_process(prepared, torch.device(device))
    callback = callback or Callback()
    callbacks = CallbackList([Recorder(folder), callback])
    try:
        if lacks_landmarks(prepared.config):
            detect_missing(prepared, None, callback)
        with graceful_shutdown() as interrupted:
            run = Trainer(
                prepared.config,
                prepared.face,
                FolderCheckpointSink(folder, callbacks),
                callbacks,
                device=device,
                run_dir=str(folder.path),
                should_stop=interrupted,
            )  # before the folder is made: a run that cannot start leaves no files
            prepared.acquire()
            with forward_logs(callbacks, rank=0, current_step=lambda: run.state.step):
                metrics = train_and_report(run, prepared)
        return metrics
    except KeyboardInterrupt:  # at the start, during the final scoring, or the second Ctrl-C
        if not folder.config_file.is_file():
            raise
        raise Interrupted(f"stopped; resume {folder.path} to continue") from None
    finally:
        folder.close()


def validate_in_process(prepared: PreparedRun, device: torch.device) -> None:
    """Check that this process can train the run.

    Args:
        prepared: the run.
        device: device of the training.

    Raises:
        ConfigError: torch finds no GPU for a CUDA device, or the run's checkpoints are in an object store.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch finds no GPU on this machine; train on the CPU, or see `focus-ray doctor`")
    if prepared.info.storage is not None:
        place = f"{prepared.info.storage}/{prepared.info.name}"
        raise ConfigError(f"the run in {prepared.folder.path} keeps its checkpoints at {place}; train it with Ray")


def train_and_report(trainer: Trainer, prepared: PreparedRun) -> dict[str, Any]:
    """Train, then write metrics.json and the report.

    Args:
        trainer: the run; restored first if the request resumes it.
        prepared: the run's request and folder.

    Returns:
        The content of metrics.json.

    Raises:
        GuardStop: a guard ended the run; metrics.json, without model, and the report are written.
        Interrupted: the run was asked to stop; only the report is written.
    """
    folder = prepared.folder
    if prepared.request.resumes:
        trainer.restore()
    try:
        metrics = trainer.run()
    except GuardStop:
        folder.write_json("metrics.json", trainer.metrics(None, {}))
        write_report(folder.path)
        raise
    except Interrupted:
        write_report(folder.path)
        raise
    folder.write_json("metrics.json", metrics)
    write_report(folder.path)
    return metrics


class FolderCheckpointSink:
    """Writes checkpoints and the model to the run folder, synchronously."""

    def __init__(self, folder: RunFolder, callback: Callback):
        self.folder = folder
        self.callback = callback
        self.last_saved_step = 0

    def save(self, step: int, tree: dict[str, Any], *, best: bool, last: bool) -> None:
        self.folder.checkpoints.save(step, tree, best=best)
        self.last_saved_step = step
        self.callback.on_save(step)

    def latest(self) -> StoredCheckpoint | None:
        stored = self.folder.checkpoints.latest()
        self.last_saved_step = 0 if stored is None else stored.step
        return stored

    def save_model(self, bundle: model.Model) -> None:
        model.save(self.folder.model_folder, bundle)
