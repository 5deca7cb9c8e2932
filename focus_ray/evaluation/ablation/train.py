"""Trains the models of an ablation, one after the other in this process; finished ones are not trained again.

Their run folders are those of usual runs, but the labels of pasted pixels are withheld from models that must not know
them: only the ablation may resume such a run.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from focus_ray.data.sample import Batch
from focus_ray.errors import ConfigError, GuardStop, Interrupted
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.ablation.ablation_rows import LABELLED_MODELS, model_config
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.runtime.callbacks import Callback, CallbackList
from focus_ray.runtime.logs import forward_logs
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.step_record import StepRecord
from focus_ray.training.assemble import TrainingData
from focus_ray.training.in_process import FolderCheckpointSink, train_and_report
from focus_ray.training.prepare import RunRequest, prepare
from focus_ray.training.recorder import Recorder
from focus_ray.training.run import Trainer

METRICS = "metrics.json"
STOPPED = "stopped; run the same command to resume"

StepProgress = Callable[[int, int], object]  # steps done, steps in all


class _StepCounter(Callback):
    """Reports the steps of a run."""

    def __init__(self, progress: StepProgress, total: int) -> None:
        self.progress = progress
        self.total = total

    def on_step_end(self, record: StepRecord) -> None:
        self.progress(record.step + 1, self.total)


def model_run(config: AblationConfig, name: str, out: Path) -> TrainingRun:
    """Return the run of a model.

    Args:
        config: configuration of the ablation.
        name: key of ABLATION_MODELS.
        out: folder of the ablation.
    """
    return TrainingRun(name, out / "runs" / name, model_config(config.training, name))


def train_model(run: TrainingRun, should_stop: Callable[[], bool], progress: StepProgress) -> None:
    """Train a model, or resume its unfinished run; a run that is finished, or that a guard ended, is left as it is.

    Args:
        run: run of a model.
        should_stop: polled after each step.
        progress: called with (steps done, steps in all).

    Raises:
        ConfigError: the run's folder holds a run with another configuration.
        CheckpointError: a checkpoint is damaged, or the photographs changed.
        DataError: the photographs cannot be used.
        StorageError: the disk cannot be written.
        Interrupted: `should_stop` returned true, after a checkpoint was written.
    """
    begun = RunFolder(run.folder).config_file.is_file()
    prepared = prepare(RunRequest(None if begun else run.config, run.folder))
    if prepared.config.digest != run.config.digest:
        raise ConfigError(
            f"{run.folder} was trained with another configuration of {run.name}; delete it, or choose another folder"
        )
    if run.done or (run.folder / METRICS).is_file():
        return
    folder = prepared.folder
    callbacks = CallbackList([Recorder(folder), _StepCounter(progress, run.config.schedule.total_steps)])
    try:
        trainer = Trainer(
            prepared.config,
            prepared.face,
            FolderCheckpointSink(folder, callbacks),
            callbacks,
            run_dir=str(folder.path),
            should_stop=should_stop,
        )
        if run.name not in LABELLED_MODELS:
            trainer.data = withhold_labels(trainer.data)
        prepared.acquire()
        with forward_logs(callbacks, rank=0, current_step=lambda: trainer.state.step):
            train_and_report(trainer, prepared)
    except GuardStop:
        return  # metrics.json tells, see `guard_message`
    except Interrupted:
        raise Interrupted(STOPPED) from None
    finally:
        folder.close()


def withhold_labels(data: TrainingData) -> TrainingData:
    """Return training data whose batches do not tell which pixels were pasted.

    Args:
        data: pictures with pasted occluders.
    """

    def batch_of(step: int) -> Batch:
        return replace(data.batch_of(step), planted=None)

    return replace(data, batch_of=batch_of)


def run_metrics(run: TrainingRun) -> dict[str, Any]:
    """Return the content of a finished run's metrics.json."""
    return json.loads((run.folder / METRICS).read_bytes())


def guard_message(run: TrainingRun) -> str | None:
    """Return a line on a run that a guard ended, without a model; None for a finished run."""
    metrics = run_metrics(run)
    if metrics["model_version"] is not None:
        return None
    kinds = sorted({event["kind"].replace("_", " ") for event in metrics["guard_events"]})
    reason = f"masks {' and '.join(kinds)}" if kinds else "no finite loss"
    return f"{run.name}: a guard ended the training after {metrics['steps']} steps ({reason}); it has no figures"
