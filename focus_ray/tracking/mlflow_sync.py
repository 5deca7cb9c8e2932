"""Syncs a run folder to MLflow: finds or creates the MLflow run, then sends what it lacks."""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from focus_ray.errors import TrackingError
from focus_ray.tracking import lineage
from focus_ray.tracking import sync_state as cursors
from focus_ray.tracking.mlflow_client import (
    MODEL_NAME,
    RUN_TAG,
    MetricPoint,
    MlflowServer,
    RemoteRun,
    model_requirements,
)
from focus_ray.tracking.mlflow_keys import flatten_params, numeric_leaves
from focus_ray.tracking.run_tail import RunFiles, Window, iter_windows, read_json, read_new_evaluations, read_steps

# Tags of the MLflow run that say how far it is. They travel with the figures they speak of.
STEPS, EVALUATED, FIGURES = "focus.steps", "focus.evaluated", "focus.figures"
NONFINITE = "nonfinite_metrics"
PRODUCTION = "production"

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_EXCLUDED_KEYS = ("schema", "seed")  # numbers of metrics.json that measure nothing
_MODEL_CODE = Path(__file__).with_name("mlflow_model.py")
_METRICS_PER_CALL = 900
_DEFAULT_LOG_EVERY = 10


@dataclass
class SyncResult:
    """What was sent, and whether MLflow now has everything there is of the run."""

    mlflow_run: str | None = None
    steps: int = 0  # training steps whose figures were sent
    evaluations: int = 0
    files: int = 0
    model: str | None = None  # the number of its version in the registry
    complete: bool = False
    problem: str = ""  # why not


class MlflowSync:
    """What MLflow does not have of a run yet, sent in order; RUN/tracking.json moves along.

    The server's own tags say how far it is: what arrived although no answer came back is not sent twice, and a server
    that lost something gets it again.
    """

    def __init__(self, run_dir: Path, server: MlflowServer, experiment: str | None, result: SyncResult) -> None:
        """Read what run_dir says of the run; nothing is sent yet.

        Args:
            run_dir: folder of the run.
            server: where it is sent.
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
        self._state = cursors.read(run_dir)

    def _log_every(self) -> int:
        cadence = self._config.get("cadence")
        log = cadence.get("log") if isinstance(cadence, dict) else None
        return log if type(log) is int and log > 0 else _DEFAULT_LOG_EVERY

    def begin(self, process_tags: Mapping[str, str], tags: Mapping[str, str], *, running: bool) -> None:
        """Find the run in MLflow, or create it, with its parameters and tags.

        `process_tags`: the lineage of this process if it trains the run, otherwise nothing. `running`: mark it as such.
        """
        if process_tags and self._state.lineage != process_tags:  # kept with the run, whoever sends it in the end
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
        """What is new since the last time; with `flush`, also the last steps that fill no window."""
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
        """The figures of metrics.json at the run's last step."""
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
        """Figures as metrics, and beside them how many were left out so far, where this adds to them."""
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
        """Say how the run ended (once), and register its model where it has one."""
        self._find()  # lets go of a second, empty run that a request without an answer may have made
        if self._state.status != status:
            self.server.end_run(self._remote.id, status)
            self._state.status = status
            self._save()
        version = model_version(self.run_dir)
        if version is not None:
            self.result.model = self.server.register(
                self._remote, self.run_dir / "model", version, _MODEL_CODE, model_requirements()
            )
            self._state.model = f"{MODEL_NAME}/{self.result.model}"
            self._save()

    def _save(self) -> None:
        cursors.write(self.run_dir, self._state)


def status_of(run_dir: Path, *, finished: bool = False) -> str:
    """How a run ended, in MLflow's words.

    FINISHED with a model, a prior or the rows of an evaluation, FAILED by a guard, else KILLED: it can be resumed.
    """
    metrics = read_json(run_dir / "metrics.json")
    made = (run_dir / "prior" / "manifest.json", run_dir / "results.json")
    if finished or model_version(run_dir) is not None or any(file.is_file() for file in made):
        return "FINISHED"
    return "KILLED" if metrics is None else "FAILED"


def model_version(run_dir: Path) -> str | None:
    """What the run's model calls itself, once it is complete."""
    version = (read_json(run_dir / "metrics.json") or {}).get("model_version")
    return version if isinstance(version, str) and (run_dir / "model" / "manifest.json").is_file() else None


def describe_unsent(run_dir: Path) -> str:
    """What of a run was not sent to MLflow yet, in words; empty where there is nothing."""
    cursor = cursors.read(run_dir)
    unsent = read_steps(run_dir / "history.jsonl", cursor.steps)
    counts = {
        "step": unsent[-1]["step"] + 1 - cursor.steps if unsent else 0,
        "evaluation": len(read_new_evaluations(run_dir / "evaluations.jsonl", cursor.evaluated)),
        "file": len(list(RunFiles(run_dir).iter_changed(cursor.artifacts))),
        "model": int(model_version(run_dir) is not None and not cursor.model),
    }
    return _join_words(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count)


def _join_words(parts: Iterable[str]) -> str:
    *most, last = [*parts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _read_run_info(run_dir: Path) -> dict[str, Any]:
    """Who the run is, by its run.json. Raises TrackingError."""
    about = read_json(run_dir / "run.json")
    if about is None or not isinstance(about.get("run_id"), str) or not _RUN_ID.fullmatch(about["run_id"]):
        raise TrackingError(f"{run_dir} holds no run.json that names a run; give the folder of a run")
    name, experiment = about.get("name"), about.get("experiment")
    return {
        "run_id": about["run_id"],
        "name": name if isinstance(name, str) and name else run_dir.absolute().name,
        "experiment": experiment if isinstance(experiment, str) and experiment else "focus",
        "created_ms": _milliseconds(about.get("created")),
    }


def _milliseconds(text: Any) -> int:
    """A moment in ISO 8601 as ms since the epoch; now where it is none."""
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
