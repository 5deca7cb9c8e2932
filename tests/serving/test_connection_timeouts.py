"""Headers that do not come, come slowly, or do not end: the connection is closed, and what comes whole is answered."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import auto

from focus_ray.serving.connection_timeouts import TimedConnection, install_timeouts
from tests.http_servers import serve_app

SECONDS = 0.4
LARGE = 64 << 20  # bytes: more than the sockets of this machine hold
GET = b"GET / HTTP/1.1\r\nHost: here\r\n"


async def slow_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes all of a body, and as long as the query says."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await asyncio.sleep(float(scope["query_string"] or 0))
    body = b"ok" if scope["path"] == "/" else bytes(LARGE)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
    for name in ("header_seconds", "unread_seconds"):
        monkeypatch.setattr(TimedConnection, name, getattr(TimedConnection, name))
    install_timeouts(SECONDS, SECONDS)
    with serve_app(slow_application) as address:
        yield address


@pytest.fixture
def connection(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=20) as connection:
        yield connection


def seconds_until_closed(connection: socket.socket) -> float:
    begin = time.monotonic()
    try:
        while connection.recv(1024):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - begin


def trickle(connection: socket.socket) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        connection.sendall(b"X-More: x\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", GET, GET + b"X-Slow: "])
def test_headers_that_stop(begun: bytes, connection: socket.socket):
    connection.sendall(begun)
    assert 0.5 * SECONDS < seconds_until_closed(connection) < 10


def test_headers_that_trickle(connection: socket.socket):
    connection.sendall(GET)
    with pytest.raises(ConnectionError):
        trickle(connection)


@pytest.mark.parametrize("piece", [b"X-More: x\r\n", b"x" * 1024])
def test_headers_that_do_not_end(piece: bytes, connection: socket.socket):
    connection.sendall(GET)
    sent = 0
    try:
        while sent < 64 << 20:
            connection.sendall(piece * 64)
            sent += 64 * len(piece)
    except ConnectionError:
        pass
    assert sent < 16 << 20  # what the sockets of this machine hold, at most


def test_what_comes_in_time_is_answered_however_long_it_takes(connection: socket.socket):
    for _ in range(2):  # on one connection
        connection.sendall(GET.replace(b"/ ", b"/?1 ") + b"\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 200")
    connection.sendall(GET.replace(b"GET", b"POST") + b"Content-Length: 2\r\n\r\nx")
    time.sleep(2 * SECONDS)  # a body has another limit: admission's
    connection.sendall(b"x")
    assert connection.recv(1024).startswith(b"HTTP/1.1 200")


def test_a_second_request_has_to_come_too(connection: socket.socket):
    connection.sendall(GET + b"\r\n")
    assert connection.recv(1024).startswith(b"HTTP/1.1 200")
    connection.sendall(GET)
    assert seconds_until_closed(connection) < 10


@pytest.mark.parametrize("reads", [False, True])
def test_an_answer_that_is_not_read_is_let_go(reads: bool, connection: socket.socket):
    connection.sendall(GET.replace(b"/ ", b"/large ") + b"\r\n")
    if not reads:
        time.sleep(3 * SECONDS)
    received = 0
    try:
        while received < LARGE and (piece := connection.recv(1 << 20)):
            received += len(piece)
    except ConnectionError:
        pass
    assert (received >= LARGE) == reads
