"""Request metrics and access log for every request, rejected ones included."""

import time

from focus_ray.serving import access_log
from focus_ray.serving.access_log import AccessLogEntry, route_of
from focus_ray.serving.metrics import Meters, RayMeters
from focus_ray.serving.request_info import RequestInfo


class RequestMetrics:
    """A `RequestObserver` that writes metrics and access log. Belongs to one event loop."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._in_flight = 0

    def on_start(self, request: RequestInfo) -> None:
        """Count a request in progress."""
        self._in_flight += 1
        self._meters.set("focus_in_flight", self._in_flight)

    def on_end(self, request: RequestInfo) -> None:
        """Record metrics and log line of an answered request."""
        self._in_flight -= 1
        self._meters.set("focus_in_flight", self._in_flight)
        seconds = time.monotonic() - request.started_at
        route = route_of(request.path)
        self._meters.count("focus_requests", route=route, status=str(request.status))
        self._meters.observe("focus_request_seconds", seconds, route=route)
        if request.reason is not None:
            self._meters.count("focus_rejections", reason=request.reason)
        access_log.log(
            AccessLogEntry(
                request.request_id,
                request.client,
                request.method,
                request.path,
                request.status,
                request.reason,
                request.bytes_in,
                seconds,
                request.faces,
            )
        )


def create_request_metrics() -> RequestMetrics:
    """Create the observer of this process; its log goes to stderr, which Ray writes to its log files."""
    access_log.set_up()
    return RequestMetrics(RayMeters())
