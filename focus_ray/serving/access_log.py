"""Access log: one JSON line for each request, without address, path, query, key, file name or picture."""

import io
import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

LOGGER = "focus_ray.serving.access"
ANONYMOUS = "anonymous"
OTHER = "other"

_METHODS = {"GET", "HEAD", "POST", "OPTIONS"}
_ROUTES = {"/", "/healthz", "/readyz", "/metrics", "/openapi.json"} | {
    f"/v1/{name}" for name in ("model", "reconstructions", "reconstructions:batch")
}
_TEMPLATES = ((re.compile(r"/v1/results/[^/]+"), "/v1/results/{name}"), (re.compile(r"/assets/.+"), "/assets/{file}"))


@dataclass(frozen=True)
class AccessLogEntry:
    """An answered request."""

    request_id: str
    client: str | None  # the name of its key
    method: str
    path: str  # as requested
    status: int
    reason: str | None  # why it was refused
    bytes_in: int  # size of the request body
    seconds: float
    faces: int | None = None  # number of faces in the response; None for other routes and refusals


def route_of(path: str) -> str:
    """Return the route template that a path matches, or "other"."""
    if path in _ROUTES:
        return path
    return next((template for pattern, template in _TEMPLATES if pattern.fullmatch(path)), OTHER)


def format_entry(access: AccessLogEntry, now: datetime) -> str:
    """Format the log line of a request; its length is bounded and it has no line breaks, whatever the client sent."""
    return json.dumps(
        {
            "time": now.astimezone(UTC).isoformat(timespec="milliseconds"),
            "request_id": access.request_id,
            "client": ANONYMOUS if access.client is None else access.client,
            "method": access.method if access.method in _METHODS else OTHER,
            "route": route_of(access.path),
            "status": access.status,
            "reason": access.reason,
            "bytes_in": access.bytes_in,
            "milliseconds": round(1000 * access.seconds, 1),
            "faces": access.faces,
        }
    )


def log(access: AccessLogEntry) -> None:
    """Write the log line of an answered request."""
    logger = logging.getLogger(LOGGER)
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", format_entry(access, datetime.now(UTC)))


def set_up(stream: io.TextIOBase | None = None) -> None:
    """Write the access log of this process to a stream, stderr by default."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
