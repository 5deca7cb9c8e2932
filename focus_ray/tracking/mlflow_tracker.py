"""Sends a run folder to MLflow from a thread; data that an unreachable server missed is sent later."""

import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from focus_ray.errors import StorageError, TrackingError
from focus_ray.tracking import lineage, sync_state
from focus_ray.tracking.database_file import sqlite_uri
from focus_ray.tracking.mlflow_client import MODEL_NAME, MlflowServer
from focus_ray.tracking.mlflow_sync import PRODUCTION, MlflowSync, SyncResult, describe_unsent, model_version, status_of
from focus_ray.tracking.redaction import redact_secrets

POLL_SECONDS = 3.0  # s between two reads of the run folder
REPEAT_NOTE_SECONDS = 600.0  # s after the server recovered, before another failure is reported
RETRY_SECONDS = (2.0, 30.0)  # s before the first retry, and the longest delay


@dataclass(frozen=True)
class TrackingSettings:
    """Where runs are tracked."""

    experiment: str | None = None  # None: the experiment of run.json
    # None: MLFLOW_TRACKING_URI; without it, a database beside the run: mlflow.db, and files in mlartifacts/
    uri: str | None = None
    database_run: Path | None = None  # folder of another run, whose database is used

    def server(self, run_dir: Path) -> MlflowServer:
        """Return the server or database for a run folder; no request is sent yet."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri:
            return MlflowServer(uri)
        parent = (self.database_run or run_dir).absolute().parent
        return MlflowServer(sqlite_uri(parent / "mlflow.db"), parent / "mlartifacts")


def _ignore(message: str) -> None:
    """Discard a message."""


class MlflowTracker:
    """Sends a run to MLflow while it trains, from a background thread: a slow server does not delay training."""

    def __init__(
        self,
        run_dir: Path,
        tracking: TrackingSettings,
        note: Callable[[str], None] = _ignore,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Set up the thread; `start` starts it.

        Args:
            run_dir: folder of the run.
            tracking: where the run is tracked.
            note: called with one-line messages, from the other thread.
            tags: further tags of this process, for instance the number of workers; they may differ after a resume.
        """
        self._run_dir = Path(run_dir)
        self._tracking = tracking
        self._note = note
        self._tags = dict(tags or {})
        self._result = SyncResult()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._finished = False
        self._deadline = float("inf")
        self._retry_delay: float | None = None  # s, None unless the last attempt failed
        self._failure_reported = False
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Start to follow the run folder; never blocks, and never raises because of MLflow."""
        self._thread.start()

    def close(self, *, finished: bool, timeout: float = 60.0) -> SyncResult:
        """Send the rest, set the status of the run, log and register its model.

        Args:
            finished: whether training finished; otherwise MLflow shows FAILED if a guard ended the run, and KILLED if
                it can be resumed.
            timeout: longest wait, s.

        Returns:
            What was sent. If it is not complete, `note` was called, and `track` can send the rest later.
        """
        self._finished = finished
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        sent = replace(self._result)
        if not sent.complete:
            self._abandoned.set()
            sent.problem = sent.problem or "MLflow did not answer in time"
            missing = describe_unsent(self._run_dir) or "the status of the run"
            command = f"focus-ray track {shlex.quote(str(self._run_dir))}"
            self._note(f"MLflow lacks {missing} ({sent.problem}); run `{command}` to send it")
        return sent

    def _work(self) -> None:
        """Send until the run is closed, retrying after every error."""
        process_tags: dict[str, str] = {}
        while not self._abandoned.is_set():
            try:
                process_tags = process_tags or lineage.process_tags()
                with sync_state.sync_lock(self._run_dir):
                    self._sync(process_tags)
                return
            except (TrackingError, StorageError) as error:
                self._on_failure(str(error))
            except Exception as error:  # no error here may stop training
                self._on_failure(redact_secrets(f"{type(error).__name__}: {error}"))
            if not self._wait():
                return

    def _sync(self, process_tags: Mapping[str, str]) -> None:
        """Send new data over one connection until the run is closed or an error occurs."""
        server = self._tracking.server(self._run_dir)
        sync = MlflowSync(self._run_dir, server, self._tracking.experiment, self._result)
        sync.begin(process_tags, self._tags, running=not self._closing.is_set())
        while True:
            closing = self._closing.is_set()
            sync.send(flush=closing)
            self._on_success()
            if closing:
                sync.end(status_of(self._run_dir, finished=self._finished))
                self._result.complete, self._result.problem = True, ""
                return
            self._closing.wait(POLL_SECONDS)

    def _on_failure(self, problem: str) -> None:
        """Report a failure once, not at each attempt, and seldom if the server fails repeatedly."""
        self._result.problem = problem
        if not self._failure_reported and time.monotonic() >= self._quiet_until and not self._closing.is_set():
            self._failure_reported = True
            self._note(f"{problem}; training continues, and missing data is sent when MLflow is reachable again")

    def _on_success(self) -> None:
        if self._failure_reported and not self._closing.is_set():
            self._note("MLflow is reachable again and has all data so far")
            self._failure_reported, self._quiet_until = False, time.monotonic() + REPEAT_NOTE_SECONDS
        self._retry_delay, self._result.problem = None, ""

    def _wait(self) -> bool:
        """Wait before the next attempt, longer each time; return whether to make one."""
        self._retry_delay = (
            RETRY_SECONDS[0] if self._retry_delay is None else min(2 * self._retry_delay, RETRY_SECONDS[1])
        )
        if not self._closing.is_set():
            self._closing.wait(self._retry_delay)
            return True
        remaining = self._deadline - time.monotonic()
        return remaining > 0 and not self._abandoned.wait(min(RETRY_SECONDS[0], remaining))


def track_quietly(run_dir: Path, note: Callable[[str], None]) -> None:
    """Send a run with `track`; failures are reported by `note`, with the command that sends the run later."""
    try:
        track(run_dir, TrackingSettings(), note=note, process_tags=lineage.process_tags())
    except (TrackingError, StorageError) as error:
        note(f"MLflow lacks {run_dir} ({error}); run `focus-ray track {shlex.quote(str(run_dir))}` to send it")


def track(
    run_dir: Path,
    tracking: TrackingSettings,
    *,
    promote: bool = False,
    note: Callable[[str], None] = _ignore,
    process_tags: Mapping[str, str] | None = None,
) -> SyncResult:
    """Send everything of a run that MLflow does not have yet, including its status and its model.

    Args:
        run_dir: folder of the run.
        tracking: where the run is tracked.
        promote: set the alias `production` to the model that the run registered.
        note: called with one-line messages.
        process_tags: lineage of this process, if it trained the run.

    Raises:
        TrackingError: MLflow failed, another process is sending this run, or there is no model to promote.
        StorageError: RUN/tracking.json cannot be written.
    """
    run_dir = Path(run_dir)
    if promote and model_version(run_dir) is None:
        raise TrackingError(f"{run_dir} has no complete model to promote; finish its training first")
    sent = SyncResult()
    with sync_state.sync_lock(run_dir):
        server = tracking.server(run_dir)
        sync = MlflowSync(run_dir, server, tracking.experiment, sent)
        sync.begin(process_tags or {}, {}, running=False)
        sync.send(flush=True)
        sync.end(status_of(run_dir))
        if promote and sent.model is not None:
            server.promote(sent.model, PRODUCTION)
            note(f"model {MODEL_NAME} version {sent.model} is now {PRODUCTION}")
    sent.complete = True
    return sent
