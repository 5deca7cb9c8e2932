"""Every request is counted once, by route, status and reason, and logged; those under way are known at any time."""

import io
import json
import logging
import time

import pytest

from focus_ray.serving.access_log import LOGGER, set_up
from focus_ray.serving.metrics import Meters, check_metric
from focus_ray.serving.request_info import RequestInfo, RequestObserver
from focus_ray.serving.request_metrics import RequestMetrics


class Remembered:
    """Meters that remember."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []
        self.observed: list[tuple[str, float, dict[str, str]]] = []
        self.gauges: dict[str, int | float] = {}

    def count(self, name: str, **labels: str) -> None:
        check_metric(name, "counter", labels)
        self.counted.append((name, labels))

    def observe(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "histogram", labels)
        self.observed.append((name, value, labels))

    def set(self, name: str, value: int | float, **labels: str) -> None:
        check_metric(name, "gauge", labels)
        self.gauges[name] = value


@pytest.fixture
def meters() -> Remembered:
    return Remembered()


def test_it_can_stand_at_the_door(meters: Remembered):
    assert isinstance(meters, Meters)
    assert isinstance(RequestMetrics(meters), RequestObserver)


def test_an_answer_and_a_refusal(meters: Remembered):
    logger, stream = logging.getLogger(LOGGER), io.StringIO()
    before = (logger.level, logger.propagate, [*logger.handlers])
    set_up(stream)
    keeper = RequestMetrics(meters)
    fine = RequestInfo("r-1", "POST", "/v1/reconstructions", "alice", time.monotonic() - 2.0)
    refused = RequestInfo("r-2", "GET", "/v1/results/name", None, time.monotonic())
    keeper.on_start(fine)
    keeper.on_start(refused)
    assert meters.gauges == {"focus_in_flight": 2}
    refused.status, refused.reason = 503, "model_queue"
    keeper.on_end(refused)
    assert meters.gauges == {"focus_in_flight": 1}
    fine.status, fine.bytes_in, fine.faces = 200, 123, 2
    keeper.on_end(fine)
    logger.level, logger.propagate, logger.handlers[:] = before
    assert meters.gauges == {"focus_in_flight": 0}
    assert meters.counted == [
        ("focus_requests", {"route": "/v1/results/{name}", "status": "503"}),
        ("focus_rejections", {"reason": "model_queue"}),
        ("focus_requests", {"route": "/v1/reconstructions", "status": "200"}),
    ]
    assert [(name, labels) for name, _, labels in meters.observed] == [
        ("focus_request_seconds", {"route": "/v1/results/{name}"}),
        ("focus_request_seconds", {"route": "/v1/reconstructions"}),
    ]
    assert meters.observed[1][1] > 1.9
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    said = [[line[name] for name in ("request_id", "client", "status", "bytes_in", "faces")] for line in lines]
    assert said == [
        ["r-2", "anonymous", 503, 0, None],
        ["r-1", "alice", 200, 123, 2],
    ]
