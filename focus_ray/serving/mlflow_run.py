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
KIND_TAG, REGISTERED_TAG, SOURCE_TAG = "kind", "registered_model", "model_source"
RETRY = (2.0, 60.0)  # s before the first new attempt, and at most
CLOSE_TIMEOUT = 10.0  # s, at the end
_MAX_QUEUED = 1000  # messages: of a tracker that is away for days the first are kept
_RUN_FOLDER = Path("runs") / "endpoint"  # beside it lies the database, where no server is named

Kind = Literal["deployment", "benchmark"]
Echo = Callable[[str], object]
Operation = Callable[[MlflowServer], object]


class MlflowRunWriter:
    """Writes to an MLflow run in order, from a thread. Only `close` waits for it, for a limited time."""

    def __init__(self, server: Callable[[], MlflowServer], echo: Echo) -> None:
        """server: called in the thread."""
        self._server = server
        self._echo = echo
        self._operations: queue.Queue[Operation | None] = queue.Queue(_MAX_QUEUED)
        self._run_id = ""  # as MLflow calls it
        self._error_reported = False
        self._deadline = float("inf")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run_operations, name="record", daemon=True)

    def begin(self, name: str, values: Mapping[str, str], tags: Callable[[], Mapping[str, str]]) -> None:
        """A new run, with its parameters and tags; these are found out in the thread."""
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
        """Numbers, nested as they like; keys are joined by '/'."""
        now = _now()
        metrics = [MetricPoint(key, value, now, step) for key, value in numeric_leaves(tree).figures.items()]
        self._enqueue(lambda server: server.log(self._run_id, metrics))

    def close(self, status: Literal["FINISHED", "KILLED"], timeout: float = CLOSE_TIMEOUT) -> None:
        """Tell the rest and how it ended; what is not told within `timeout` s is lost, and said to be."""
        self._enqueue(lambda server: server.end_run(self._run_id, status))
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        with suppress(queue.Full):
            self._operations.put_nowait(None)
        self._thread.join(timeout)
        if self._thread.is_alive() or not self._operations.empty():
            self._echo("MLflow lacks the end of this run: it did not answer in time")

    def _enqueue(self, operation: Operation) -> None:
        with suppress(queue.Full):
            self._operations.put_nowait(operation)

    def _run_operations(self) -> None:
        server: MlflowServer | None = None
        while (message := self._operations.get()) is not None:
            pause = RETRY[0]
            while True:
                try:
                    server = server or self._server()
                    message(server)
                    break
                except Exception as error:  # whatever it is, serving goes on
                    self._report_error(error)
                if self._should_give_up(pause):
                    return
                pause = min(2 * pause, RETRY[1])

    def _report_error(self, error: Exception) -> None:
        """Say it once."""
        if not self._error_reported:
            self._error_reported = True
            reason = str(error) if isinstance(error, FocusRayError) else f"{type(error).__name__}: {error}"
            self._echo(
                f"{redact_secrets(' '.join(reason.split())[:300])}; serving goes on without MLflow until it answers"
            )

    def _should_give_up(self, pause: float) -> bool:
        """Wait before the next attempt; whether there is to be none."""
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
    kind: Kind = "deployment",
    tracking: TrackingSettings | None = None,
) -> Iterator[MlflowRunWriter]:
    """A run of the experiment "focus-serving" for as long as the block takes: what is served, and how.

    version: what the model calls itself. The run is FINISHED where the block ends well, else KILLED. Never raises
    because of MLflow, and never waits for it but a moment at the end; `echo` is called once with what it refuses.
    """
    record = MlflowRunWriter(lambda: _server(tracking), echo)
    name = f"{kind} {source.registered or version or 'model'}"
    record.begin(name, flatten_params(_loggable_settings(settings)), lambda: _tags(source, version, kind))
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
    """The settings without the hashes of keys and whose they are: how many there are is enough."""
    plain = settings.model_dump(mode="json")
    plain["http"]["keys"] = len(settings.http.keys)
    return plain


def _tags(source: ModelSource, version: str, kind: Kind) -> dict[str, str]:
    from focus_ray.tracking import lineage

    known = {
        KIND_TAG: kind,
        VERSION_TAG: version,
        REGISTERED_TAG: source.registered or "",
        SOURCE_TAG: redact_secrets(source.uri or "shipped"),
    }
    return lineage.process_tags() | {key: value for key, value in known.items() if value}


def _now() -> int:
    return int(time.time() * 1000)
