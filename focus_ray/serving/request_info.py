"""State of a request in admission, and the interface of observers that count and log requests."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass
class RequestInfo:
    """One request in the admission middleware, for metrics and access log."""

    request_id: str
    method: str
    path: str
    client: str | None  # the name of its key
    started_at: float  # monotonic, s
    status: int = 0
    reason: str | None = None  # why it was refused
    bytes_in: int = 0  # size of the request body
    faces: int | None = None  # number of faces in the response


@runtime_checkable
class RequestObserver(Protocol):
    """Called at the start and at the end of each request."""

    def on_start(self, request: RequestInfo) -> None: ...

    def on_end(self, request: RequestInfo) -> None: ...
