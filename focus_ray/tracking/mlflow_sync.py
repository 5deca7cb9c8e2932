"""Syncs a run folder to MLflow: finds or creates the MLflow run, then sends what is missing there."""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from focus_ray.errors import TrackingError
from focus_ray.licences.model_card import model_card
from focus_ray.tracking import lineage, sync_state
from focus_ray.tracking.mlflow_client import (
    DETECTOR_FOLDER,
    MODEL_NAME,
    RUN_TAG,
    MetricPoint,
    MlflowServer,
    RemoteRun,
    model_requirements,
)
from focus_ray.tracking.mlflow_keys import flatten_params, numeric_leaves
from focus_ray.tracking.run_tail import RunFiles, Window, iter_windows, read_json, read_new_evaluations, read_steps

# Tags of the MLflow run that hold the progress of the sync, sent together with the data that they describe.
STEPS, EVALUATED, FIGURES = "focus.steps", "focus.evaluated", "focus.figures"
NONFINITE = "nonfinite_metrics"
PRODUCTION = "production"

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_EXCLUDED_KEYS = ("schema", "seed")  # numbers of metrics.json that are not metrics
_MODEL_CODE = Path(__file__).with_name("mlflow_model.py")
_DETECTOR = Path(__file__).resolve().parents[1] / "data" / "detectors" / DETECTOR_FOLDER
_METRICS_PER_CALL = 900
_DEFAULT_LOG_EVERY = 10


@dataclass
class SyncResult:
    """What was sent, and whether MLflow now has all data of the run."""

    mlflow_run: str | None = None
    steps: int = 0  # training steps whose figures were sent
    evaluations: int = 0
    files: int = 0
    model: str | None = None  # the number of its version in the registry
    complete: bool = False
    problem: str = ""  # why it is not complete


class MlflowSync:
    """Sends the data of a run that MLflow does not have yet, in order, and records it in RUN/tracking.json.

    The progress is read from the tags of the MLflow run: data that arrived although the response was lost is not sent
    twice, and data that the server lost is sent again.
    """

    def __init__(self, run_dir: Path, server: MlflowServer, experiment: str | None, result: SyncResult) -> None:
        """Read the run folder; nothing is sent yet.

        Args:
            run_dir: folder of the run.
            server: server or database to send to.
            experiment: name of the experiment; None: that of run.json.
            result: counts of what is sent, updated in place.

        Raises:
            TrackingError: the folder holds no run.
        """
        self.run_dir = run_dir
        self.server = server
        self.result = result
        self._run_info = _read_run_info(run_dir)
        self._experiment = experiment or self._run_info["experiment"]
        self._config = read_json(run_dir / "config.json") or {}
        self._files = RunFiles(run_dir)
        self._history_file = run_dir / "history.jsonl"
        self._state = sync_state.read(run_dir)

    def _log_every(self) -> int:
        cadence = self._config.get("cadence")
        log = cadence.get("log") if isinstance(cadence, dict) else None
        return log if type(log) is int and log > 0 else _DEFAULT_LOG_EVERY

    def begin(self, process_tags: Mapping[str, str], tags: Mapping[str, str], *, running: bool) -> None:
        """Find or create the run in MLflow and send its parameters and tags.

        Args:
            process_tags: lineage of this process if it trains the run, else empty.
            tags: further tags.
            running: set the status of the MLflow run to RUNNING.

        Raises:
            TrackingError: MLflow failed.
            StorageError: RUN/tracking.json cannot be written.
        """
        if process_tags and self._state.lineage != process_tags:  # kept with the run: another process may send it
            self._state.lineage = dict(process_tags)
            self._save()
        remote = self._find()
        if remote is None:
            created = self._run_info["created_ms"]
            remote = self.server.create_run(self._experiment, self._run_info["run_id"], self._run_info["name"], created)
        self._remote = remote
        self._state = self._state.for_run(remote.id)
        self._state.steps = _to_int(remote.tags.get(STEPS), 0)
        self._state.evaluated = _to_int(remote.tags.get(EVALUATED), -1)
        self._state.figures = remote.tags.get(FIGURES, "")
        self._nonfinite = int(remote.metrics.get(NONFINITE, 0))
        self.result.mlflow_run = remote.id
        if running:
            self._mark_running(remote)
        self._save()
        known = {**self._state.lineage, **lineage.run_tags(self.run_dir), **tags}
        self.server.log(remote.id, (), {key: text for key, text in known.items() if remote.tags.get(key) != text})
        missing = {key: text for key, text in flatten_params(self._config).items() if key not in remote.parameters}
        self.server.set_parameters(remote.id, missing)

    def _find(self) -> RemoteRun | None:
        return self.server.find_run(self._experiment, self._run_info["run_id"], self._state.mlflow_run)

    def _mark_running(self, remote: RemoteRun) -> None:
        if remote.status != "RUNNING":
            self.server.set_running(remote.id)
        self._state.status = ""

    def send(self, *, flush: bool) -> None:
        """Send what is new since the last call.

        Args:
            flush: also send the last steps that do not fill a window.

        Raises:
            TrackingError: MLflow failed.
            StorageError: RUN/tracking.json cannot be written.
        """
        self._send_history(flush=flush)
        self._send_evaluations()
        self._send_figures()
        self._send_files()

    def _send_history(self, *, flush: bool) -> None:
        batch: list[MetricPoint] = []
        last: Window | None = None
        lines = read_steps(self._history_file, self._state.steps)
        for window in iter_windows(lines, self._log_every(), flush=flush):
            if last is not None and len(batch) + len(window.sums) + 1 > _METRICS_PER_CALL:
                self._send_windows(batch, last)
                batch = []
            batch += self._metrics(window.means(), window.nonfinite, window.time_ms, window.end_step)
            last = window
        if last is not None:
            self._send_windows(batch, last)

    def _send_windows(self, batch: list[MetricPoint], last: Window) -> None:
        self.server.log(self._remote.id, batch, {STEPS: str(last.end_step)})
        self.result.steps += last.end_step - self._state.steps
        self._state.steps = last.end_step
        self._save()

    def _send_evaluations(self) -> None:
        path = self.run_dir / "evaluations.jsonl"
        for entry in read_new_evaluations(path, self._state.evaluated):
            before = read_steps(self._history_file, entry.step - 1)  # the step that the evaluation followed
            time_ms = int(1000 * (before[0]["time"] if before else path.stat().st_mtime))
            found, lost = entry.leaves
            self.server.log(
                self._remote.id, self._metrics(found, lost, time_ms, entry.step), {EVALUATED: str(entry.step)}
            )
            self._state.evaluated = entry.step
            self.result.evaluations += 1
            self._save()

    def _send_figures(self) -> None:
        """Send the figures of metrics.json at the run's last step."""
        path = self.run_dir / "metrics.json"
        metrics = read_json(path)
        if metrics is None:
            return
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest == self._state.figures:
            return
        found, lost = numeric_leaves({key: value for key, value in metrics.items() if key not in _EXCLUDED_KEYS})
        step = _to_int(metrics.get("steps"), self._state.steps)
        time_ms = int(path.stat().st_mtime * 1000)
        self.server.log(self._remote.id, self._metrics(found, lost, time_ms, step), {FIGURES: digest})
        self._state.figures = digest
        self._save()

    def _metrics(self, found: Mapping[str, float], nonfinite: int, time_ms: int, step: int) -> list[MetricPoint]:
        """Return figures as metrics, with the number of non-finite ones so far if it grew."""
        metrics = [MetricPoint(key, value, time_ms, step) for key, value in found.items()]
        if nonfinite:
            self._nonfinite += nonfinite
            metrics.append(MetricPoint(NONFINITE, float(self._nonfinite), time_ms, step))
        return metrics

    def _send_files(self) -> None:
        for name, digest in self._files.iter_changed(self._state.artifacts):
            folder = name.rpartition("/")[0]
            self.server.upload(self._remote.id, self.run_dir / name, folder or None)
            self._state.artifacts[name] = digest
            self.result.files += 1
            self._save()

    def end(self, status: str) -> None:
        """Set the status of the ended run (once) and register its model, if it has one.

        Args:
            status: FINISHED, FAILED or KILLED, see `status_of`.

        Raises:
            TrackingError: MLflow failed.
            StorageError: RUN/tracking.json cannot be written.
        """
        self._find()  # deletes a second, empty run that a create request without a response may have left
        if self._state.status != status:
            self.server.end_run(self._remote.id, status)
            self._state.status = status
            self._save()
        version = model_version(self.run_dir)
        if version is not None:
            folders = {"model": self.run_dir / "model"} | ({"detector": _DETECTOR} if _DETECTOR.is_dir() else {})
            card = model_card(read_json(self.run_dir / "model" / "model.json") or {})
            self.result.model = self.server.register(
                self._remote, folders, version, _MODEL_CODE, model_requirements(), card
            )
            self._state.model = f"{MODEL_NAME}/{self.result.model}"
            self._save()

    def _save(self) -> None:
        sync_state.write(self.run_dir, self._state)


def status_of(run_dir: Path, *, finished: bool = False) -> str:
    """Return the MLflow status of an ended run.

    Args:
        run_dir: folder of the run.
        finished: whether the run is known to have finished.

    Returns:
        FINISHED if it finished or has a model, a prior or the rows of an evaluation; FAILED if a guard ended it; else
        KILLED: it can be resumed.
    """
    metrics = read_json(run_dir / "metrics.json")
    made = (run_dir / "prior" / "manifest.json", run_dir / "results.json")
    if finished or model_version(run_dir) is not None or any(file.is_file() for file in made):
        return "FINISHED"
    return "KILLED" if metrics is None else "FAILED"


def model_version(run_dir: Path) -> str | None:
    """Return the version of the run's model; None until the model is complete."""
    version = (read_json(run_dir / "metrics.json") or {}).get("model_version")
    return version if isinstance(version, str) and (run_dir / "model" / "manifest.json").is_file() else None


def describe_unsent(run_dir: Path) -> str:
    """Describe in words what of a run was not sent to MLflow yet; empty if everything was."""
    state = sync_state.read(run_dir)
    unsent = read_steps(run_dir / "history.jsonl", state.steps)
    counts = {
        "step": unsent[-1]["step"] + 1 - state.steps if unsent else 0,
        "evaluation": len(read_new_evaluations(run_dir / "evaluations.jsonl", state.evaluated)),
        "file": len(list(RunFiles(run_dir).iter_changed(state.artifacts))),
        "model": int(model_version(run_dir) is not None and not state.model),
    }
    return _join_words(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count)


def _join_words(parts: Iterable[str]) -> str:
    *most, last = [*parts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _read_run_info(run_dir: Path) -> dict[str, Any]:
    """Read id, name, experiment and time of creation from run.json; raise TrackingError if it has no valid id."""
    info = read_json(run_dir / "run.json")
    if info is None or not isinstance(info.get("run_id"), str) or not _RUN_ID.fullmatch(info["run_id"]):
        raise TrackingError(f"{run_dir} has no run.json with a valid run_id; give the folder of a run")
    name, experiment = info.get("name"), info.get("experiment")
    return {
        "run_id": info["run_id"],
        "name": name if isinstance(name, str) and name else run_dir.absolute().name,
        "experiment": experiment if isinstance(experiment, str) and experiment else "focus",
        "created_ms": _milliseconds(info.get("created")),
    }


def _milliseconds(text: Any) -> int:
    """Convert ISO 8601 text to Unix time in ms; the current time if it is invalid."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError, OSError):
        return int(time.time() * 1000)


def _to_int(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


__all__ = ["PRODUCTION", "RUN_TAG", "MlflowSync", "SyncResult", "describe_unsent", "model_version", "status_of"]
