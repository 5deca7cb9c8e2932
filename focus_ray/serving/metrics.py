"""Metrics of the endpoint as Ray metrics; serving.exposition collects them from all processes.

Each process reports to the agent of its node every 10 s by default (RAY_metrics_report_interval_ms). The sums of
histograms are approximate, because Ray stores only the counts of the buckets.
"""

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

SECOND_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REPEAT = 1.0  # s; Ray does not report more often
COUNT_BUCKETS = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 12.5, 16.5, 32.5)  # bounds between integers


class MetricSpec(NamedTuple):
    """Specification of a metric: kind, description, labels, and bucket bounds of a histogram."""

    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


METRICS: Mapping[str, MetricSpec] = {
    "focus_requests": MetricSpec("counter", "Answered requests", ("route", "status")),
    "focus_request_seconds": MetricSpec(
        "histogram",
        "Time from a request's first byte to the last byte of its response, in seconds",
        ("route",),
        SECOND_BUCKETS,
    ),
    "focus_rejections": MetricSpec("counter", "Refused requests", ("reason",)),
    "focus_in_flight": MetricSpec("gauge", "Requests in progress"),
    "focus_waiting": MetricSpec("gauge", "Pictures that wait for a batch"),
    "focus_queue_seconds": MetricSpec(
        "histogram", "Time that a picture waits for its batch, in seconds", (), SECOND_BUCKETS
    ),
    "focus_batch_faces": MetricSpec("histogram", "Faces in a batch", (), COUNT_BUCKETS),
    "focus_model_seconds": MetricSpec("histogram", "Time of the model for a batch, in seconds", (), SECOND_BUCKETS),
    "focus_decode_seconds": MetricSpec("histogram", "Time for decoding a picture, in seconds", (), SECOND_BUCKETS),
    "focus_detection_seconds": MetricSpec(
        "histogram", "Time for detecting the faces of a picture, in seconds", (), SECOND_BUCKETS
    ),
    "focus_drawing_seconds": MetricSpec(
        "histogram", "Time for rendering and encoding the outputs of a picture, in seconds", (), SECOND_BUCKETS
    ),
    "focus_faces": MetricSpec("histogram", "Faces in a picture", (), COUNT_BUCKETS),
    "focus_model_info": MetricSpec("gauge", "Replicas by model version", ("version", "registered")),
}


@runtime_checkable
class Meters(Protocol):
    """Receives metrics. Implementations raise KeyError for a name or labels that METRICS does not list."""

    def count(self, name: str, **labels: str) -> None:
        """Increment a counter."""
        ...

    def observe(self, name: str, value: int | float, **labels: str) -> None:
        """Add a value to a histogram."""
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
    """Metrics of this process as Ray metrics. The cluster keeps counts after the process has ended.

    Ray drops a gauge that is not set again within two reports, so a thread sets all gauges periodically.
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
    """Check a metric against METRICS.

    Args:
        name: of the metric.
        kind: counter, gauge or histogram.
        labels: values of all its labels.

    Raises:
        KeyError: name, kind or labels do not match.
    """
    metric = METRICS[name]
    if metric.kind != kind or labels.keys() != {*metric.labels}:
        raise KeyError(f"{name} is a {metric.kind} with labels {', '.join(metric.labels) or 'none'}")


@functools.cache  # Ray allows one instance of a metric in a process
def _instrument(name: str) -> Any:
    from ray.util import metrics

    metric = METRICS[name]
    if metric.kind == "histogram":
        return metrics.Histogram(name, metric.description, boundaries=list(metric.bounds), tag_keys=metric.labels)
    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(name, metric.description, tag_keys=metric.labels)
