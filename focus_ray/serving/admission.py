"""Admission control as ASGI middleware: authentication, size, rate and time limits, before anything is decoded.

It runs in the proxies of the cluster, where a slow client blocks no replica. An ingress runs it only for requests that
no proxy has admitted, on clusters whose proxies were started by other means. It reads the whole body, within limits of
size and time, and forwards it as one message. Ray Serve's own responses for a lost or busy replica become problem
responses with Retry-After.
"""

import asyncio
import logging
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from focus_ray.serving.keys import ApiKeys
from focus_ray.serving.problems import MEDIA_TYPE, Problem
from focus_ray.serving.request_info import RequestInfo, RequestObserver
from focus_ray.serving.settings import ServingSettings

PROXY_CALLBACK = "focus_ray.serving.admission:proxy_middlewares"
SETTINGS_VARIABLE = "FOCUS_RAY_SERVING"
FACES_HEADER = "x-focus-ray-faces"  # of a response: its number of faces, for metrics and log without parsing the body
REASON_HEADER = "x-focus-ray-reason"  # of a refusal: the label of its metric

_ABSOLUTE = re.compile(rb"https?://(?P<host>[^/]+)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MAX_QUERY_BYTES = 16_384  # enough for 136 numbers (68 landmarks)
_MAX_HEADER_BYTES = 16_384  # names and values together
# Request headers that control Ray Serve's proxies: time limit, no cancellation on disconnect, choice of replica.
# Some values that are not UTF-8 make a proxy leak a request with its body.
_RAY_CONTROL_HEADERS = {
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"serve-multiplexed-model-id",
    b"x-session-id",
}
_ADMITTED = "focus_ray_admitted"  # key of a scope's state
_PUBLIC_PATHS = {"/", "/healthz", "/readyz", "/openapi.json", "/-/healthz", "/-/routes"}
_PUBLIC_PREFIX = "/assets/"
_SECURITY_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}

logger = logging.getLogger(__name__)


def proxy_middlewares() -> list[Middleware]:
    """Return the middlewares of Ray Serve's proxies; none if their environment lacks the settings.

    Ray Serve calls it before a proxy listens. It also installs the time limits of connections.
    """
    from focus_ray.serving import connection_timeouts
    from focus_ray.serving.request_metrics import create_request_metrics

    text = os.environ.get(SETTINGS_VARIABLE)
    if not text:
        return []
    settings = ServingSettings.model_validate_json(text)
    connection_timeouts.install_timeouts(settings.admission.header_seconds, settings.admission.unread_seconds)
    return [
        Middleware(AdmissionMiddleware, settings=settings, observer=create_request_metrics()),
        *cors(settings),
    ]


def cors(settings: ServingSettings) -> list[Middleware]:
    """Return the CORS middleware for the allowed origins, if any.

    It runs outside the admission, because a preflight request has no key.
    """
    if not settings.http.origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.http.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["retry-after", "x-request-id"],
        )
    ]


def admit_once(app: ASGIApp, settings: ServingSettings, observer: RequestObserver) -> ASGIApp:
    """Wrap an ingress in admission and CORS, for requests that no proxy has admitted."""
    admission: ASGIApp = AdmissionMiddleware(app, settings, observer)
    for middleware in cors(settings):
        admission = middleware.cls(admission, *middleware.args, **middleware.kwargs)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        is_admitted = _ADMITTED in scope.get("state", {})  # a client cannot set the state of a scope
        await (app if is_admitted else admission)(scope, receive, send)

    return dispatch


class AdmissionMiddleware:
    """Admission control of one process."""

    def __init__(self, app: ASGIApp, settings: ServingSettings, observer: RequestObserver | None = None) -> None:
        self._app = app
        self._settings = settings
        self._keys = ApiKeys(settings.http.keys)
        self._observer = observer
        self._in_flight = 0
        self._in_flight_by_client: Counter[str] = Counter()  # by name of the key, else by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, from its headers to the last byte of its response."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        scope = _origin_form(scope)
        headers = dict(reversed(scope["headers"]))
        request_id = _request_id(headers)
        info = RequestInfo(request_id, scope["method"], scope["path"], None, time.monotonic())
        response = _ResponseSender(send, info, self._settings.http.retry_seconds)
        if self._observer:
            self._observer.on_start(info)
        try:
            response.release = self._admit(scope, headers, info)
            body = await self._read_body(headers, receive)
            info.bytes_in = len(body)
            await self._app(_annotate_scope(scope, info), _replay_body(body, receive), response)
            await response.finish()
        except Problem as problem:
            await response.refuse(problem)
        except Exception:
            logger.exception("request %s failed", request_id)
            await response.refuse(Problem.internal_error())
        finally:
            response.release()
            if self._observer:
                self._observer.on_end(info)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes], request: RequestInfo) -> Callable[[], None]:
        """Admit and count a request.

        Returns:
            A function that releases the request.

        Raises:
            Problem: the request is not admitted.
        """
        self._check(scope, headers, request)
        if scope["method"] != "POST":
            return _no_op
        client = request.client or str((scope.get("client") or ("",))[0])
        limits, wait = self._settings.admission, self._settings.http.retry_seconds
        if self._in_flight_by_client[client] >= limits.requests_of_a_client:
            raise Problem(
                "too_many_requests",
                "this client has too many requests in progress; wait for their responses",
                retry_after=wait,
            )
        if self._in_flight >= limits.requests_at_once:
            raise Problem("overloaded", "the service is busy; retry later", retry_after=wait)
        self._in_flight += 1
        self._in_flight_by_client[client] += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                self._in_flight -= 1
                self._in_flight_by_client[client] -= 1
                if not self._in_flight_by_client[client]:
                    del self._in_flight_by_client[client]

        return leave

    def _check(self, scope: Scope, headers: dict[bytes, bytes], request: RequestInfo) -> None:
        path = scope["path"]
        if not path.startswith("/"):
            raise Problem("bad_request", "the request target is not a path; see /openapi.json")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _MAX_HEADER_BYTES:
            raise Problem("too_large", f"the headers are longer than {_MAX_HEADER_BYTES} bytes")
        if len(scope.get("query_string", b"")) > _MAX_QUERY_BYTES:
            raise Problem("too_large", f"the query is longer than {_MAX_QUERY_BYTES} bytes; send a form")
        http = self._settings.http
        if http.keys or http.keys_required:
            request.client = self._keys.owner(headers.get(b"authorization"))
            free = scope["method"] in ("GET", "HEAD") and (path in _PUBLIC_PATHS or path.startswith(_PUBLIC_PREFIX))
            if request.client is None and not free:
                raise Problem("unauthorized", "send a valid key as `Authorization: Bearer KEY`")
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise Problem(
                "unsupported_media", "compressed bodies are not accepted; send the body without Content-Encoding"
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Problem("bad_request", "Content-Length is not a number; send the size of the body in bytes")
        if scope["method"] != "POST" and (int(length) or b"transfer-encoding" in headers):
            raise Problem("too_large", f"{scope['method'][:16]} accepts no body; send it with POST")
        self._check_size(int(length))

    def _check_size(self, size: int) -> None:
        most = self._settings.admission.body_megabytes
        if size > most * 1e6:
            raise Problem("too_large", f"the body is larger than {most:g} MB; send smaller pictures")

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body.

        Raises:
            Problem: the body is too large or the client disconnected, no data arrived for `silent_seconds`, or neither
                its end nor `min_body_bytes` arrived within `body_seconds`.
        """
        limits = self._settings.admission
        deadline, enough = time.monotonic() + limits.body_seconds, limits.min_body_bytes
        pieces, size, more = [], 0, True
        while more:
            left = min(limits.silent_seconds, deadline - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                raise Problem("timeout", self._timeout_detail()) from None
            if message["type"] == "http.disconnect":
                raise Problem("bad_request", "the client disconnected before the end of the body")
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(piece)
            self._check_size(size)
            pieces.append(piece)
            if size >= enough:
                deadline, enough = time.monotonic() + limits.body_seconds, size + limits.min_body_bytes
        return b"".join(pieces)

    def _timeout_detail(self) -> str:
        limits = self._settings.admission
        return (
            f"no data of the body arrived for {limits.silent_seconds:g} s, or less than"
            f" {limits.min_body_bytes / 1e3:g} kB within {limits.body_seconds:g} s; "
            "use a faster connection, or send smaller pictures"
        )


class _ResponseSender:
    """Sends the response with the request's id and security headers; maps Ray Serve's own errors to problems."""

    def __init__(self, send: Send, request: RequestInfo, retry_seconds: int) -> None:
        self._send = send
        self._request = request
        self._retry_seconds = retry_seconds
        self._started = False
        self._replacement: Problem | None = None
        self.release: Callable[[], None] = _no_op  # called after the last byte; Ray Serve finishes later

    async def __call__(self, message: Message) -> None:
        """Forward one ASGI message of the application."""
        if message["type"] == "http.response.start":
            self._replacement = self._translate_error(message)
            if self._replacement is None:
                self._started = True
                self._request.status = message["status"]
                message = {**message, "headers": self._headers(message.get("headers", []))}
        if self._replacement is None:
            await self._send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.release()

    async def finish(self) -> None:
        """Complete the response after the application has ended."""
        if self._replacement is not None:
            await self.refuse(self._replacement)
        elif not self._started:
            await self.refuse(self._busy())

    async def refuse(self, problem: Problem) -> None:
        """Send a problem response, unless a response has started."""
        if self._started:
            return
        self._started = True
        self._request.status = problem.status
        body = problem.body(self._request.request_id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers()}
        headers[REASON_HEADER] = problem.reason
        if problem.code in ("timeout", "too_large"):
            headers["connection"] = "close"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": problem.status, "headers": self._headers(pairs)}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": b"" if self._request.method == "HEAD" else body})

    def _headers(self, pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in pairs if name.lower() != b"x-request-id"]
        given = {name.lower() for name, _ in kept}
        added = {b"x-request-id": self._request.request_id.encode(), **_SECURITY_HEADERS}
        values = dict(kept)
        faces, reason = values.get(FACES_HEADER.encode(), b""), values.get(REASON_HEADER.encode(), b"")
        self._request.faces = int(faces) if faces.isdigit() else None
        self._request.reason = reason.decode() or None
        return [*kept, *((name, value) for name, value in added.items() if name not in given)]

    def _translate_error(self, message: Message) -> Problem | None:
        """Map Ray Serve's plain-text errors to problems: no route yet, no replica, a dead replica, a timeout."""
        headers = {name.lower(): value for name, value in message.get("headers", [])}
        kind = headers.get(b"content-type", b"")
        status = message["status"]
        if status < 400 or kind.startswith((MEDIA_TYPE.encode(), b"application/json")):
            return None
        return self._busy() if status in (404, 408, 500, 502, 503, 504) else None

    def _busy(self) -> Problem:
        return Problem(
            "overloaded", "the service is starting or a replica failed; retry later", retry_after=self._retry_seconds
        )


def _no_op() -> None:
    """Releases nothing: the request was not admitted."""


def _origin_form(scope: Scope) -> Scope:
    """Rewrite the scope of `GET http://host/path`, as proxies send it, to `GET /path` (RFC 9112, section 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(scope.get("raw_path") or scope["path"].encode())
    if absolute is None:
        return scope
    path = absolute["path"] or b"/"
    headers = [pair for pair in scope["headers"] if pair[0] != b"host"]
    headers.append((b"host", absolute["host"].lower()))
    return {**scope, "path": unquote(path.decode("latin-1")), "raw_path": path, "headers": headers}


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _annotate_scope(scope: Scope, request: RequestInfo) -> Scope:
    """Add the request's id and the name of its key to the scope; drop the headers that control Ray Serve."""
    dropped = {b"x-request-id", *_RAY_CONTROL_HEADERS}
    headers = [pair for pair in scope["headers"] if pair[0].lower().replace(b"_", b"-") not in dropped]
    state: dict[str, Any] = {**scope.get("state", {}), "client": request.client, _ADMITTED: True}
    return {**scope, "headers": [*headers, (b"x-request-id", request.request_id.encode())], "state": state}


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a receive function: the body as one message, then the client's messages."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
