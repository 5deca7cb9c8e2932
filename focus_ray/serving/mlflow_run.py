"""Logs deployments and load benchmarks to MLflow from a background thread; serving never blocks on MLflow."""

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from focus_ray.errors import FocusRayError
from focus_ray.serving.model_source import ModelSource
from focus_ray.serving.settings import ServingSettings
from focus_ray.tracking.mlflow_client import VERSION_TAG, MetricPoint, MlflowServer
from focus_ray.tracking.mlflow_keys import flatten_params, numeric_leaves
from focus_ray.tracking.redaction import redact_secrets

if TYPE_CHECKING:
    from focus_ray.tracking.mlflow_tracker import TrackingSettings
else:  # torch takes seconds to import: annotations must not need it
    TrackingSettings = Any

EXPERIMENT = "focus-serving"
KIND_TAG, REGISTERED_TAG, SOURCE_TAG, DETECTOR_TAG = "kind", "registered_model", "model_source", "detector"
RETRY = (2.0, 60.0)  # s before the first new attempt, and at most
CLOSE_TIMEOUT = 10.0  # s, for the remaining operations at the end
_MAX_QUEUED = 1000  # operations; later ones are dropped while MLflow is unavailable
_RUN_FOLDER = Path("runs") / "endpoint"  # the default database is next to it, if no server is set

Kind = Literal["deployment", "benchmark"]
Echo = Callable[[str], object]
Operation = Callable[[MlflowServer], object]


class MlflowRunWriter:
    """Writes to an MLflow run in order, from a thread. Only `close` waits for the thread, for a limited time."""

    def __init__(self, server: Callable[[], MlflowServer], echo: Echo) -> None:
        """Create a writer; `begin` starts its thread.

        Args:
            server: connects to MLflow; called in the thread.
            echo: receives warnings for the user.
        """
        self._server = server
        self._echo = echo
        self._operations: queue.Queue[Operation | None] = queue.Queue(_MAX_QUEUED)
        self._run_id = ""  # assigned by MLflow
        self._error_reported = False
        self._deadline = float("inf")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run_operations, name="record", daemon=True)

    def begin(self, name: str, values: Mapping[str, str], tags: Callable[[], Mapping[str, str]]) -> None:
        """Start the thread and create a run.

        Args:
            name: of the run.
            values: parameters of the run.
            tags: returns the tags; called in the thread.
        """
        focus_run, now = uuid.uuid4().hex, _now()

        def first(server: MlflowServer) -> None:
            found = server.find_run(EXPERIMENT, focus_run) or server.create_run(EXPERIMENT, focus_run, name, now)
            self._run_id = found.id
            server.set_parameters(
                self._run_id, {key: value for key, value in values.items() if key not in found.parameters}
            )
            server.log(self._run_id, (), tags())

        self._enqueue(first)
        self._thread.start()

    def log_metrics(self, tree: Mapping[str, Any], step: int = 0) -> None:
        """Log metrics.

        Args:
            tree: nested numbers; the keys are joined by '/', other values are skipped.
            step: of the metrics.
        """
        now = _now()
        metrics = [MetricPoint(key, value, now, step) for key, value in numeric_leaves(tree).figures.items()]
        self._enqueue(lambda server: server.log(self._run_id, metrics))

    def close(self, status: Literal["FINISHED", "KILLED"], timeout: float = CLOSE_TIMEOUT) -> None:
        """Write the remaining operations and end the run.

        Args:
            status: of the run.
            timeout: s; operations that are not written by then are lost, and `echo` reports it.
        """
        self._enqueue(lambda server: server.end_run(self._run_id, status))
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        with suppress(queue.Full):
            self._operations.put_nowait(None)
        self._thread.join(timeout)
        if self._thread.is_alive() or not self._operations.empty():
            self._echo("MLflow did not respond in time; the end of this run was not logged")

    def _enqueue(self, operation: Operation) -> None:
        with suppress(queue.Full):
            self._operations.put_nowait(operation)

    def _run_operations(self) -> None:
        server: MlflowServer | None = None
        while (operation := self._operations.get()) is not None:
            pause = RETRY[0]
            while True:
                try:
                    server = server or self._server()
                    operation(server)
                    break
                except Exception as error:  # MLflow must not stop serving
                    self._report_error(error)
                if self._should_give_up(pause):
                    return
                pause = min(2 * pause, RETRY[1])

    def _report_error(self, error: Exception) -> None:
        """Report the first error only."""
        if not self._error_reported:
            self._error_reported = True
            reason = str(error) if isinstance(error, FocusRayError) else f"{type(error).__name__}: {error}"
            self._echo(f"{redact_secrets(' '.join(reason.split())[:300])}; serving continues, MLflow is retried")

    def _should_give_up(self, pause: float) -> bool:
        """Wait before the next attempt; return whether the time for attempts is over."""
        if not self._closing.wait(pause):
            return False
        left = self._deadline - time.monotonic()
        time.sleep(max(0.0, min(RETRY[0], left)))
        return left <= 0


@contextmanager
def deployment_run(
    settings: ServingSettings,
    source: ModelSource,
    echo: Echo,
    *,
    version: str = "",
    detector: str = "",
    kind: Kind = "deployment",
    tracking: TrackingSettings | None = None,
) -> Iterator[MlflowRunWriter]:
    """Log a run of the experiment "focus-serving" with model and settings for the duration of the block.

    Errors of MLflow are reported once and never raised; only the end of the block waits for MLflow, for at most 10 s.

    Args:
        settings: of the endpoint, logged as parameters without keys.
        source: of the model, logged as tags.
        echo: receives warnings for the user.
        version: of the model.
        detector: name and version of the detector.
        kind: tag of the run.
        tracking: MLflow server; None: MLFLOW_TRACKING_URI, else the database in ./runs.

    Yields:
        Writer for further metrics. The run gets the status FINISHED if the block succeeds, else KILLED.
    """
    record = MlflowRunWriter(lambda: _server(tracking), echo)
    name = f"{kind} {source.registered or version or 'model'}"
    record.begin(name, flatten_params(_loggable_settings(settings)), lambda: _tags(source, version, detector, kind))
    status: Literal["FINISHED", "KILLED"] = "KILLED"
    try:
        yield record
        status = "FINISHED"
    finally:
        record.close(status)


def _server(tracking: TrackingSettings | None) -> MlflowServer:
    from focus_ray.tracking.mlflow_tracker import TrackingSettings

    return (tracking or TrackingSettings()).server(_RUN_FOLDER)


def _loggable_settings(settings: ServingSettings) -> dict[str, Any]:
    """Return the settings with the number of keys in place of names and hashes."""
    plain = settings.model_dump(mode="json")
    plain["http"]["keys"] = len(settings.http.keys)
    return plain


def _tags(source: ModelSource, version: str, detector: str, kind: Kind) -> dict[str, str]:
    from focus_ray.tracking import lineage

    known = {
        KIND_TAG: kind,
        VERSION_TAG: version,
        DETECTOR_TAG: detector,
        REGISTERED_TAG: source.registered or "",
        SOURCE_TAG: redact_secrets(source.uri or "shipped"),
    }
    return lineage.process_tags() | {key: value for key, value in known.items() if value}


def _now() -> int:
    return int(time.time() * 1000)
