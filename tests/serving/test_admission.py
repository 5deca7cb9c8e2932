"""Admission: who may come in, how much and how slowly, and in whose words refusals are told."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from focus_ray.serving import admission as admission_module
from focus_ray.serving.admission import (
    FACES_HEADER,
    REASON_HEADER,
    AdmissionMiddleware,
    RequestInfo,
    admit_once,
    cors,
    proxy_middlewares,
)
from focus_ray.serving.keys import hash_key
from focus_ray.serving.settings import AdmissionSettings, HttpSettings, ServingSettings
from tests.http_servers import serve_app

KEYS = (f"alice:{hash_key('fr_right')}",)
LIMITS = AdmissionSettings(body_megabytes=0.001, body_seconds=0.6, silent_seconds=0.3, requests_at_once=2)


class Inside:
    """An application behind an admission: remembers what reaches it, and answers what it is told to."""

    def __init__(self, status: int = 200, kind: str = "application/json", body: bytes = b"{}") -> None:
        self.answer = (status, kind, body)
        self.seen: list[tuple[Scope, bytes]] = []
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.seen.append((scope, body))
        if self.error:
            raise self.error
        if self.hold:
            await self.hold.wait()
        status, kind, content = self.answer
        headers = [(b"content-type", kind.encode()), (b"x-request-id", b"from inside"), *self.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Told:
    """An observer."""

    def __init__(self) -> None:
        self.left_: list[RequestInfo] = []

    def on_start(self, request: RequestInfo) -> None:
        pass

    def on_end(self, request: RequestInfo) -> None:
        self.left_.append(request)


def admission(
    inside: Inside, limits: AdmissionSettings = LIMITS, observer: Told | None = None, **http: Any
) -> AdmissionMiddleware:
    return AdmissionMiddleware(inside, ServingSettings(http=HttpSettings(**http), admission=limits), observer=observer)


async def through(
    admission: AdmissionMiddleware,
    method: str = "POST",
    path: str = "/v1/reconstructions",
    pieces: tuple[bytes, ...] = (b"body",),
    headers: dict[str, str] | None = None,
    client: str = "127.0.0.9",
    pause: float = 0.0,
    query: bytes = b"",
) -> tuple[int, dict[str, str], bytes]:
    """What a client sees that sends a body in pieces."""
    waiting = list(pieces)
    said: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        said.append(message)

    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": pairs}
    await admission({**scope, "client": (client, 1)}, receive, send)
    told = {name.decode().lower(): value.decode() for name, value in said[0]["headers"]}
    return said[0]["status"], told, b"".join(message["body"] for message in said[1:])


def ask(*arguments: Any, **options: Any) -> tuple[int, dict[str, str], Any]:
    status, headers, body = asyncio.run(through(*arguments, **options))
    return status, headers, json.loads(body)


def test_the_body_comes_in_as_one_piece_under_the_requests_name():
    inside = Inside()
    status, headers, _ = ask(admission(inside), pieces=(b"ab", b"", b"cd"), headers={"X-Request-ID": "mine-1"})
    ((scope, body),) = inside.seen
    assert (status, body) == (200, b"abcd")
    assert dict(scope["headers"])[b"x-request-id"] == b"mine-1"
    assert headers["x-request-id"] == "mine-1"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\r\nX: y", "ä", "../x"])
def test_a_request_id_that_is_none_is_replaced(given: str):
    _, headers, _ = ask(admission(Inside()), headers={"X-Request-ID": given})
    assert headers["x-request-id"] != given
    assert headers["x-request-id"].isalnum()


def test_too_much_is_refused_before_it_has_come():
    inside = Inside()
    status, _, said = ask(admission(inside), headers={"Content-Length": "1001"}, pieces=())
    assert (status, said["code"]) == (413, "too_large")
    status, headers, said = ask(admission(inside), pieces=(b"x" * 600,) * 3)
    assert (status, said["code"], headers["connection"]) == (413, "too_large", "close")
    assert inside.seen == []


@pytest.mark.parametrize("pause", [0.15, 0.5])
def test_too_slow_is_refused(pause: float):
    inside = Inside()
    status, _, said = ask(admission(inside), pieces=(b"x",) * 20, pause=pause)
    assert (status, said["code"]) == (408, "timeout")
    assert inside.seen == []


def test_a_client_that_goes_away_reaches_nobody():
    inside = Inside()
    asyncio.run(through(admission(inside), pieces=()))
    assert inside.seen == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer fr_wrong"}, 401),
        ({"Authorization": "Basic fr_right"}, 401),
        ({"Authorization": "Bearer fr_right"}, 200),
    ],
)
def test_keys(headers: dict[str, str], status: int):
    inside = Inside()
    seen, told, _ = ask(admission(inside, keys=KEYS), headers=headers)
    assert seen == status
    if status == 200:
        assert inside.seen[0][0]["state"]["client"] == "alice"
    else:
        assert told["www-authenticate"] == "Bearer"
        assert inside.seen == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/assets/page.js", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 401),
        ("GET", "/v1/model", 401),
        ("POST", "/", 401),
        ("GET", "//", 401),
        ("GET", "/assets", 401),
    ],
)
def test_what_is_open_without_a_key(method: str, path: str, status: int):
    assert ask(admission(Inside(), keys=KEYS), method, path)[0] == status


def test_keys_that_are_required_and_none_is_known():
    assert ask(admission(Inside(), keys_required=True), headers={"Authorization": "Bearer x"})[0] == 401


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Content-Encoding": "gzip"}, b"", 415),
        ({"Content-Encoding": "identity"}, b"", 200),
        ({"Content-Length": "-1"}, b"", 400),
        ({"Content-Length": "1e3"}, b"", 400),
        ({}, b"x=" + b"y" * 20_000, 413),
    ],
)
def test_other_headers_and_queries(headers: dict[str, str], query: bytes, status: int):
    assert ask(admission(Inside()), headers=headers, query=query)[0] == status


def test_who_is_busy_says_so_at_once_without_reading():
    async def scene() -> None:
        inside = Inside()
        inside.hold = asyncio.Event()
        limits = LIMITS.model_copy(update={"requests_of_a_client": 2, "requests_at_once": 3})
        guarded = admission(inside, limits)
        begun = [asyncio.create_task(through(guarded, client=name)) for name in ("a", "a", "b")]
        await asyncio.sleep(0.05)
        status, headers, body = await through(guarded, client="c")
        assert (status, json.loads(body)["code"], headers["retry-after"]) == (503, "overloaded", "1")
        status, headers, body = await through(guarded, client="a")
        assert (status, json.loads(body)["code"], headers["retry-after"]) == (429, "too_many_requests", "1")
        inside.hold.set()
        assert [(await one)[0] for one in begun] == [200, 200, 200]
        inside.hold = None
        assert (await through(guarded, client="a"))[0] == 200

    asyncio.run(scene())


@pytest.mark.parametrize("status", [404, 408, 500, 502, 503, 504])
def test_what_ray_serve_says_is_told_in_our_words(status: int):
    inside = Inside(status, "text/plain", b"Traceback: /secret/path actor died")
    seen, headers, said = ask(admission(inside))
    assert (seen, said["code"], headers["retry-after"]) == (503, "overloaded", "1")
    assert "secret" not in json.dumps(said)


@pytest.mark.parametrize(("status", "kind"), [(404, "application/problem+json"), (422, "application/json")])
def test_what_the_application_says_passes(status: int, kind: str):
    seen, headers, said = ask(admission(Inside(status, kind, b'{"code": "not_found"}')))
    assert (seen, headers["content-type"], said) == (status, kind, {"code": "not_found"})


def test_a_bug_is_told_without_its_trace():
    inside = Inside()
    inside.error = RuntimeError("/secret/path")
    status, _, said = ask(admission(inside))
    assert (status, said["code"]) == (500, "internal")
    assert "secret" not in json.dumps(said)


def test_an_application_that_says_nothing():
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    status, _, body = asyncio.run(through(AdmissionMiddleware(silent, ServingSettings())))
    assert (status, json.loads(body)["code"]) == (503, "overloaded")


def test_a_witness_is_told_of_every_request():
    witness = Told()
    asyncio.run(through(admission(Inside(), observer=witness, keys=KEYS), headers={"Authorization": "Bearer fr_right"}))
    asyncio.run(through(admission(Inside(), observer=witness, keys=KEYS)))
    found = Inside()
    found.headers = [(FACES_HEADER.encode(), b"3")]
    asyncio.run(through(admission(found, observer=witness)))
    good, bad, three = witness.left_
    assert (good.status, good.client, good.bytes_in, good.reason) == (200, "alice", 4, None)
    assert (good.faces, bad.faces, three.faces) == (None, None, 3)
    assert (bad.status, bad.client, bad.reason) == (401, None, "unauthorized")


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("said", [{"Content-Length": "4"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_that_nobody_wants_is_not_read(method: str, said: dict[str, str]):
    inside = Inside()
    status, headers, answer = ask(admission(inside), method, "/healthz", headers=said, pieces=())
    assert (status, answer["code"], headers["connection"]) == (413, "too_large", "close")
    assert inside.seen == []


def test_headers_that_are_too_long_together():
    assert ask(admission(Inside()), headers={f"X-{number}": "x" * 1000 for number in range(17)})[0] == 413


def test_what_ray_serve_would_obey_does_not_come_in():
    names = ("X-Request-Timeout-Seconds", "x-request-disconnect-disabled", "serve_multiplexed_model_id", "X-Session_ID")
    inside = Inside()
    ask(admission(inside), headers=dict.fromkeys(names, "ÿ") | {"Accept": "*/*"})
    assert {name for name, _ in inside.seen[0][0]["headers"]} == {b"accept", b"x-request-id"}


def test_one_client_is_one_whatever_it_says():
    async def scene() -> None:
        inside = Inside()
        inside.hold = asyncio.Event()
        limits = LIMITS.model_copy(update={"requests_of_a_client": 1, "requests_at_once": 8})
        for options, ways in (
            ({}, ["Bearer a", "Bearer b"]),
            ({"keys": KEYS}, ["Bearer fr_right", "bearer  fr_right"]),
        ):
            guarded = admission(inside, limits, **options)
            begun = asyncio.create_task(through(guarded, headers={"Authorization": ways[0]}, client="a"))
            await asyncio.sleep(0.05)
            assert (await through(guarded, headers={"Authorization": ways[1]}, client="a"))[0] == 429
            inside.hold.set()
            assert (await begun)[0] == 200
            inside.hold.clear()

    asyncio.run(scene())


def test_who_has_the_answer_may_ask_again_at_once():
    async def scene() -> None:
        ending = asyncio.Event()

        async def slow_to_end(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            await ending.wait()

        limits = LIMITS.model_copy(update={"requests_of_a_client": 1, "requests_at_once": 1})
        guarded = AdmissionMiddleware(slow_to_end, ServingSettings(admission=limits))
        begun = []
        for _ in range(3):
            begun.append(asyncio.create_task(through(guarded)))
            await asyncio.sleep(0.05)
        ending.set()
        assert [(await one)[0] for one in begun] == [200, 200, 200]
        assert guarded._in_flight == 0

    asyncio.run(scene())


def test_why_the_application_refuses_is_known():
    witness = Told()
    inside = Inside(503, "application/problem+json")
    inside.headers = [(REASON_HEADER.encode(), b"model_queue")]
    asyncio.run(through(admission(inside, observer=witness)))
    assert witness.left_[0].reason == "model_queue"


def test_pages_of_other_sites_ask_first_and_without_a_key():
    settings = ServingSettings(http=HttpSettings(keys=KEYS, origins=("https://example.org",)))
    guarded: Any = AdmissionMiddleware(Inside(), settings)
    for middleware in cors(settings):
        guarded = middleware.cls(guarded, *middleware.args, **middleware.kwargs)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://example.org", True), ("https://example.com", False)):
        status, headers, _ = asyncio.run(through(guarded, "OPTIONS", headers={"Origin": origin, **asks}, pieces=(b"",)))
        assert (status == 200) == allowed
        assert ("access-control-allow-origin" in headers) == allowed
    status, headers, _ = ask(guarded, headers={"Origin": "https://example.org"})
    assert (status, headers["access-control-allow-origin"]) == (401, "https://example.org")
    assert "retry-after" in headers["access-control-expose-headers"].lower()
    assert cors(ServingSettings()) == []


def test_sockets_of_other_kinds_are_closed():
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(admission(Inside())({"type": "websocket", "headers": []}, None, send))  # type: ignore[arg-type]
    assert said == [{"type": "websocket.close", "code": 1008}]


def test_what_a_proxy_has_admitted_is_not_checked_again():
    settings = ServingSettings(http=HttpSettings(keys=KEYS, origins=("https://example.org",)))
    observer, inside = Told(), Inside()
    ingress = admit_once(inside, settings, observer)
    assert ask(ingress)[0] == 401
    assert len(observer.left_) == 1
    proxy = AdmissionMiddleware(ingress, settings)
    status, headers, _ = ask(proxy, headers={"Authorization": "Bearer fr_right", "Origin": "https://example.org"})
    assert status == 200
    assert len(observer.left_) == 1
    assert "access-control-allow-origin" not in headers  # that of the proxy stands alone


def test_proxies_have_the_middleware_where_their_environment_has_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(admission_module.SETTINGS_VARIABLE, raising=False)
    assert proxy_middlewares() == []
    monkeypatch.setenv(
        admission_module.SETTINGS_VARIABLE, ServingSettings(http=HttpSettings(port=77)).model_dump_json()
    )
    limited: list[tuple[float, float]] = []
    monkeypatch.setattr(
        "focus_ray.serving.connection_timeouts.install_timeouts", lambda *seconds: limited.append(seconds)
    )
    (middleware,) = proxy_middlewares()
    limits = ServingSettings().admission
    assert limited == [(limits.header_seconds, limits.unread_seconds)]
    assert middleware.kwargs["settings"].http.port == 77


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A door under a real HTTP server."""
    with serve_app(admission(Inside())) as address:
        yield address


def raw(address: tuple[str, int], head: bytes, pieces: Iterator[bytes]) -> bytes:
    """What a client reads that goes on sending until the server has had enough."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head)
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


HEAD = b"POST /v1/reconstructions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_trickle_of_chunks_on_the_wire(address: tuple[str, int]):
    def trickle() -> Iterator[bytes]:
        for _ in range(40):
            time.sleep(0.1)
            yield b"1\r\nx\r\n"

    assert raw(address, HEAD, trickle()).startswith(b"HTTP/1.1 408")


def test_a_stream_without_end_on_the_wire(address: tuple[str, int]):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(20_000):
            sent += 1
            yield b"1000\r\n" + b"x" * 4096 + b"\r\n"

    answer = raw(address, HEAD, endless())
    assert sent < 20_000
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://host/healthz", "/healthz"),
        ("HTTPS://host:8000/v1/results/a%20b", "/v1/results/a b"),
        ("http://host", "/"),
        ("/http://host/healthz", "/http://host/healthz"),
    ],
)
def test_an_absolute_target_is_its_path(target: str, path: str):
    inside, told = Inside(), Told()
    status, _, _ = ask(admission(inside, observer=told), "GET", target, pieces=(b"",), headers={"Host": "another"})
    ((scope, _),) = inside.seen
    assert (status, scope["path"], told.left_[0].path) == (200, path, path)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    assert len(hosts) == 1
    assert (hosts[0] == b"another") == target.startswith("/")


def test_an_absolute_target_needs_a_key_where_its_path_does():
    guarded = admission(Inside(), keys=KEYS)
    assert ask(guarded, "GET", "http://host/healthz", pieces=(b"",))[0] == 200
    assert ask(guarded, "GET", "http://host/v1/model", pieces=(b"",))[0] == 401


@pytest.mark.parametrize("target", ["*", "host:443", "ftp://host/healthz", ""])
def test_another_target_is_refused_and_not_asked_again(target: str):
    inside = Inside()
    status, headers, said = ask(admission(inside), "OPTIONS", target, pieces=(b"",))
    assert (status, said["code"], "retry-after" in headers) == (400, "bad_request", False)
    assert inside.seen == []


STEPS = AdmissionSettings(body_megabytes=0.01, body_seconds=1.0, silent_seconds=0.9, body_kilobytes_a_second=0.3)


def test_a_slow_body_that_goes_on_is_waited_for():
    inside = Inside()
    assert ask(admission(inside, STEPS), pieces=(b"x" * 100,) * 30, pause=0.05)[0] == 200  # 1.5 s
    assert len(inside.seen[0][1]) == 3000


def test_a_body_is_not_paid_for_in_advance():
    inside = Inside()
    status, _, said = ask(admission(inside, STEPS), pieces=(b"x" * 5000, *(b"x",) * 40), pause=0.1)
    assert (status, said["code"]) == (408, "timeout")
    assert "less than 0.3 kB within 1 s" in said["detail"]
    assert inside.seen == []


def test_the_longest_body_has_an_end():
    assert STEPS.max_body_seconds == 34.0  # 33 whole steps of 300 bytes, and the rest
    assert AdmissionSettings(body_kilobytes_a_second=1e6).max_body_seconds == 20.0
