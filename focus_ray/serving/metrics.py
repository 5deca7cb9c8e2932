"""Metrics of the endpoint as Ray metrics; serving.exposition collects them from all processes.

A figure is seen when its process has told the agent of its node: Ray does that every 10 s, by default
(RAY_metrics_report_interval_ms). The sums of histograms are approximate: Ray keeps how many fell between two bounds.
"""

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

SECOND_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REPEAT = 1.0  # s: Ray reports no more often
COUNT_BUCKETS = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 12.5, 16.5, 32.5)  # between whole numbers


class MetricSpec(NamedTuple):
    """Specification of a metric: kind, description, labels, and bucket bounds of a histogram."""

    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


METRICS: Mapping[str, MetricSpec] = {
    "focus_requests": MetricSpec("counter", "Requests that were answered", ("route", "status")),
    "focus_request_seconds": MetricSpec(
        "histogram", "From a request's first byte to its answer's last", ("route",), SECOND_BUCKETS
    ),
    "focus_rejections": MetricSpec("counter", "Requests that were refused", ("reason",)),
    "focus_in_flight": MetricSpec("gauge", "Requests that are being answered now"),
    "focus_waiting": MetricSpec("gauge", "Pictures that wait for a batch now"),
    "focus_queue_seconds": MetricSpec(
        "histogram", "Time an image waits in the queue before its batch starts, in seconds", (), SECOND_BUCKETS
    ),
    "focus_batch_faces": MetricSpec("histogram", "Faces that are fitted together", (), COUNT_BUCKETS),
    "focus_model_seconds": MetricSpec("histogram", "That the model takes for a batch", (), SECOND_BUCKETS),
    "focus_decode_seconds": MetricSpec("histogram", "That decoding takes for a picture", (), SECOND_BUCKETS),
    "focus_detection_seconds": MetricSpec("histogram", "That finding faces takes for a picture", (), SECOND_BUCKETS),
    "focus_drawing_seconds": MetricSpec(
        "histogram", "That drawing and encoding take for a picture", (), SECOND_BUCKETS
    ),
    "focus_faces": MetricSpec("histogram", "Faces in a picture", (), COUNT_BUCKETS),
    "focus_model_info": MetricSpec("gauge", "Replicas by the model that they serve", ("version", "registered")),
}


@runtime_checkable
class Meters(Protocol):
    """Receives metrics. Raises KeyError for a name or labels that METRICS does not list."""

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        ...

    def observe(self, name: str, value: int | float, **labels: str) -> None:
        """One value of many."""
        ...

    def set(self, name: str, value: int | float, **labels: str) -> None:
        """Set a gauge of this process."""
        ...


class NoMeters:
    """Ignores all metrics."""

    def count(self, name: str, **labels: str) -> None:
        check_metric(name, "counter", labels)

    def observe(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "histogram", labels)

    def set(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "gauge", labels)


class RayMeters:
    """Figures of this process, in a Ray cluster, which keeps what was counted when the process has gone.

    Ray forgets a gauge that is not set again within two reports; a thread sets them again while the process lives.
    """

    def __init__(self) -> None:
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], int | float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def count(self, name: str, **labels: str) -> None:
        check_metric(name, "counter", labels)
        _instrument(name).inc(1, labels)

    def observe(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "histogram", labels)
        _instrument(name).observe(value, labels)

    def set(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "gauge", labels)
        with self._lock:
            self._gauges[name, tuple(labels.items())] = value
            if self._thread is None:
                self._thread = threading.Thread(target=self._repeat, name="gauges", daemon=True)
                self._thread.start()
            _instrument(name).set(value, labels)

    def _repeat(self) -> None:
        while True:
            time.sleep(_REPEAT)
            with self._lock:
                for (name, labels), value in self._gauges.items():
                    _instrument(name).set(value, dict(labels))


def check_metric(name: str, kind: str, labels: Mapping[str, str]) -> None:
    """Raises KeyError for what is not in METRICS."""
    metric = METRICS[name]
    if metric.kind != kind or labels.keys() != {*metric.labels}:
        raise KeyError(f"{name} is a {metric.kind} by {', '.join(metric.labels) or 'nothing'}")


@functools.cache  # Ray's metrics are those of a process
def _instrument(name: str) -> Any:
    from ray.util import metrics

    metric = METRICS[name]
    if metric.kind == "histogram":
        return metrics.Histogram(name, metric.description, boundaries=list(metric.bounds), tag_keys=metric.labels)
    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(name, metric.description, tag_keys=metric.labels)
