"""Sends a run folder to MLflow from a thread; what an unreachable server misses is sent later."""

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

POLL_SECONDS = 3.0  # s between two looks at the run folder
REPEAT_NOTE_SECONDS = 600.0  # s after the server came back, before another failure is spoken of
RETRY_SECONDS = (2.0, 30.0)  # s before the first new attempt, and at most


@dataclass(frozen=True)
class TrackingSettings:
    """Where runs are tracked."""

    experiment: str | None = None  # the one that run.json names
    # MLFLOW_TRACKING_URI; without it, a database beside the run: mlflow.db, and files in mlartifacts/
    uri: str | None = None
    database_run: Path | None = None  # another run, whose database it is

    def server(self, run_dir: Path) -> MlflowServer:
        """The server, or the database, for a run folder. Nothing is asked of it yet."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri:
            return MlflowServer(uri)
        parent = (self.database_run or run_dir).absolute().parent
        return MlflowServer(sqlite_uri(parent / "mlflow.db"), parent / "mlartifacts")


def _ignore(message: str) -> None:
    """Nobody listens."""


class MlflowTracker:
    """Sends a run to MLflow while it trains, from a background thread: a slow or unreachable server delays nothing."""

    def __init__(
        self,
        run_dir: Path,
        tracking: TrackingSettings,
        note: Callable[[str], None] = _ignore,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """`note` is given one-line messages, from another thread. `tags`: what this process knows of the run besides
        its folder, the number of workers for instance; they may differ each time the run is gone on with.
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
        self._retry_delay: float | None = None  # s, since the server last refused
        self._failure_reported = False  # that it does
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin to follow the run folder. Never waits, never raises because of MLflow."""
        self._thread.start()

    def close(self, *, finished: bool, timeout: float = 60.0) -> SyncResult:
        """Send the rest, say how the run ended, log and register its model; wait for that no longer than `timeout` s.

        `finished`: whether training came to its end; otherwise MLflow shows FAILED where a guard ended the run, and
        KILLED where it can be resumed. What could not be sent is told by `note` and stays to be sent by `track`.
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
            missing = describe_unsent(self._run_dir) or "the end of the run"
            command = f"focus-ray track {shlex.quote(str(self._run_dir))}"
            self._note(f"MLflow lacks {missing} ({sent.problem}); `{command}` sends that later")
        return sent

    def _work(self) -> None:
        """Deliver until the end, through every refusal."""
        here: dict[str, str] = {}
        while not self._abandoned.is_set():
            try:
                here = here or lineage.process_tags()
                with sync_state.sync_lock(self._run_dir):
                    self._sync(here)
                return
            except (TrackingError, StorageError) as error:
                self._on_failure(str(error))
            except Exception as error:  # whatever it is, training goes on
                self._on_failure(redact_secrets(f"{type(error).__name__}: {error}"))
            if not self._wait():
                return

    def _sync(self, process_tags: Mapping[str, str]) -> None:
        """One connection: all that is new, again and again, until the run ends or the server refuses."""
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
        """Say it once, not at each attempt, and seldom where the server comes and goes."""
        self._result.problem = problem
        if not self._failure_reported and time.monotonic() >= self._quiet_until and not self._closing.is_set():
            self._failure_reported = True
            self._note(f"{problem}; training goes on, and what MLflow misses is sent when that has passed")

    def _on_success(self) -> None:
        if self._failure_reported and not self._closing.is_set():
            self._note("MLflow answers again and has everything so far")
            self._failure_reported, self._quiet_until = False, time.monotonic() + REPEAT_NOTE_SECONDS
        self._retry_delay, self._result.problem = None, ""

    def _wait(self) -> bool:
        """Wait before the next attempt, longer each time; whether there is to be one."""
        self._retry_delay = (
            RETRY_SECONDS[0] if self._retry_delay is None else min(2 * self._retry_delay, RETRY_SECONDS[1])
        )
        if not self._closing.is_set():
            self._closing.wait(self._retry_delay)
            return True
        remaining = self._deadline - time.monotonic()
        return remaining > 0 and not self._abandoned.wait(min(RETRY_SECONDS[0], remaining))


def track_quietly(run_dir: Path, note: Callable[[str], None]) -> None:
    """`track` where MLflow is not what matters: what it refuses is told by `note`, with what sends it later."""
    try:
        track(run_dir, TrackingSettings(), note=note, process_tags=lineage.process_tags())
    except (TrackingError, StorageError) as error:
        note(f"MLflow lacks {run_dir} ({error}); `focus-ray track {shlex.quote(str(run_dir))}` sends it later")


def track(
    run_dir: Path,
    tracking: TrackingSettings,
    *,
    promote: bool = False,
    note: Callable[[str], None] = _ignore,
    process_tags: Mapping[str, str] | None = None,
) -> SyncResult:
    """Send everything of a run that MLflow does not have yet, its end and its model included.

    With `promote`, the model that the run registered gets the alias `production`. `process_tags`: the lineage of this
    process, if the run is its own. Raises TrackingError where the server cannot be reached or refuses, where another
    process sends this run, and where there is no model to promote.
    """
    run_dir = Path(run_dir)
    if promote and model_version(run_dir) is None:
        raise TrackingError(f"{run_dir} has no complete model to promote; let its training come to an end first")
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
