"""A proxy for HTTP/1.1 in front of any server, that fails in the ways in which networks and services do."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16
# What concerns one connection and is not passed on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "te", "upgrade"}
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Faults:
    """What goes wrong, from now on. Shares are probabilities for each request, from 0 to 1."""

    busy: float = 0.0
    """Answered with status 503; the server never sees the request."""
    stalled: float = 0.0
    """Kept waiting for `stall_seconds` before the server sees it."""
    stall_seconds: float = 5.0
    reset: float = 0.0
    """The connection is reset in the middle of a body of `reset_bytes` or more."""
    reset_bytes: int = 1 << 20
    lost: float = 0.0
    """The server does what is asked, and the connection is reset before its answer."""
    cut: float = 0.0
    """The connection is reset in the middle of an answer of `cut_bytes` or more."""
    cut_bytes: int = 1 << 10
    bytes_per_second: float | None = None
    """How fast bodies of requests are read, all together: the width of the line."""


class FaultyProxy:
    """Passes requests on to `upstream` (http://host:port) from a port of its own on 127.0.0.1, in threads.

    `faults` can be changed at any time. `counts` says what was done: "requests", "passed", and one name for each fault.

        with FaultyProxy(server_url) as proxy:
            proxy.faults.busy = 0.1
            proxy.outage(60)
    """

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._outage_until = 0.0
        self._line_free_at = 0.0
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.reset_all()

    def outage(self, seconds: float) -> None:
        """Reset every connection, those that are open and those that are tried, for so long from now."""
        self._outage_until = time.monotonic() + seconds
        self._server.reset_all()

    @property
    def in_outage(self) -> bool:
        """Whether there is an outage."""
        return time.monotonic() < self._outage_until

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def throttle(self, size: int) -> None:
        """Wait while so many bytes come over the line, which all requests share."""
        if rate := self.faults.bytes_per_second:
            with self._lock:
                self._line_free_at = max(self._line_free_at, time.monotonic()) + size / rate
                wait = self._line_free_at - time.monotonic()
            time.sleep(max(0.0, wait))

    def should_inject(self, fault: str) -> bool:
        """Whether a fault hits this request; counted if it does."""
        with self._lock:
            hit = self._random.random() < getattr(self.faults, fault)
            self.counts[fault] += hit
        return hit


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self.proxy.in_outage:
            self.proxy.count("dark")
            _reset(request)
            return False
        self._open.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what this is for."""

    def reset_all(self) -> None:
        for connection in list(self._open):
            _reset(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    def _forward(self) -> None:
        proxy = self.server.proxy
        proxy.count("requests")
        length = int(self.headers.get("Content-Length") or 0)
        if length >= proxy.faults.reset_bytes and proxy.should_inject("reset"):
            self._read(length // 2)
            self._reset_connection()
            return
        body = self._body(length)
        if proxy.should_inject("busy"):
            self._respond(503, [("Content-Type", "application/xml")], BUSY)
            return
        if proxy.should_inject("stalled"):
            time.sleep(proxy.faults.stall_seconds)
        if proxy.in_outage:
            self._reset_connection()
            return
        status, headers, content = self._request_upstream(body)
        if proxy.should_inject("lost"):
            self._reset_connection()
            return
        proxy.count("passed")
        self._respond(status, headers, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = _forward

    def _body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(length)
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self._read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            part = self.rfile.read(min(length, CHUNK_BYTES))
            if not part:
                raise ConnectionError("the client is gone")
            parts.append(part)
            length -= len(part)
            self.server.proxy.throttle(len(part))
        return b"".join(parts)

    def _request_upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server says."""
        upstream = self.server.proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=120)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    connection.putheader(name, value)
            if body or self.command in ("PUT", "POST", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _respond(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value  # of what GET would give
            elif name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        proxy = self.server.proxy
        if len(content) >= proxy.faults.cut_bytes and proxy.should_inject("cut"):
            self.wfile.write(content[: len(content) // 2])
            self._reset_connection()
            return
        self.wfile.write(content)

    def _reset_connection(self) -> None:
        self.close_connection = True
        _reset(self.connection)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests count; they do not read."""


def _reset(connection: socket.socket) -> None:
    """End a connection as one that breaks ends: with a reset, in the middle of whatever it does."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    except OSError:
        pass
