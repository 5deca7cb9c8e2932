"""Who stands at the door and counts: figures and the access log of all requests, refused ones too."""

import time

from focus_ray.serving import access_log
from focus_ray.serving.access_log import Access, route_of
from focus_ray.serving.door import Passage
from focus_ray.serving.metrics import Meters, RayMeters


class Bookkeeper:
    """Tells meters and the access log of requests; a `door.Witness`. Belongs to one event loop."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._under_way = 0

    def came(self, passage: Passage) -> None:
        """A request has begun."""
        self._under_way += 1
        self._meters.set("focus_in_flight", self._under_way)

    def left(self, passage: Passage) -> None:
        """Its answer has been given."""
        self._under_way -= 1
        self._meters.set("focus_in_flight", self._under_way)
        seconds = time.monotonic() - passage.began
        route = route_of(passage.path)
        self._meters.count("focus_requests", route=route, status=str(passage.status))
        self._meters.observe("focus_request_seconds", seconds, route=route)
        if passage.reason is not None:
            self._meters.count("focus_rejections", reason=passage.reason)
        access_log.log(
            Access(
                passage.request_id,
                passage.client,
                passage.method,
                passage.path,
                passage.status,
                passage.reason,
                passage.bytes_in,
                seconds,
                passage.faces,
            )
        )


def bookkeeper() -> Bookkeeper:
    """The one of this process: its log goes to stderr, which Ray keeps."""
    access_log.set_up()
    return Bookkeeper(RayMeters())
