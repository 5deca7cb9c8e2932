"""The client against small servers: what it sends, what it tries again, and what it does not do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from focus_ray.errors import ConfigError, ServiceError
from focus_ray.serving.client import Client
from focus_ray.serving.problems import MEDIA_TYPE, Problem
from focus_ray.serving.schema import Output

ANSWER = {"request_id": "r", "model_version": "v", "image": {"width": 2, "height": 3}, "faces": []}
OK = (200, {"Content-Type": "application/json"}, json.dumps(ANSWER).encode())


def problem(code: str, **more) -> tuple[int, dict[str, str], bytes]:
    told = Problem(code, "what was wrong; what to do", **more)
    return told.status, {"Content-Type": MEDIA_TYPE, **told.headers()}, told.body("r-9")


class Told:
    """A server that gives the answers it is told to, the last one for good; None breaks the connection."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = [OK]
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Told]:
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.seen.append((self.command, self.path, dict(self.headers), body))
            answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if answer is None:
                self.connection.close()
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        told.url = url
        yield told


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_picture_and_its_options_in_a_form(server: Told, tmp_path: Path):
    (tmp_path / "secret name.jpg").write_bytes(b"the bytes")
    with Client(server.url, key="fr_k") as client:
        answer = client.reconstruct(
            tmp_path / "secret name.jpg", outputs=["mask", "glb"], refine=False, box=(1, 2, 3.5, 4), prior=None
        )
    assert answer.model_version == "v"
    method, path, headers, body = server.seen[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/reconstructions", "Bearer fr_k")
    for part in (b"the bytes", b'name="image"', b"mask,glb", b"false", b"1,2,3.5,4"):
        assert part in body
    assert b"secret" not in body
    assert b"prior" not in body


def test_an_array_is_sent_as_a_png(server: Told):
    with Client(server.url) as client:
        client.reconstruct(np.zeros((4, 5, 3), np.uint8))
    assert b"\x89PNG" in server.seen[0][3]


@pytest.mark.parametrize("again", [problem("overloaded", retry_after=1), problem("too_many_requests"), None])
def test_what_may_pass_is_tried_again(again, server: Told):
    server.answers = [again, OK]
    with Client(server.url, retries=1) as client:
        assert client.reconstruct(b"x").faces == []
    assert len(server.seen) == 2


def test_it_gives_up(server: Told):
    server.answers = [problem("overloaded")]
    with Client(server.url, retries=2) as client, pytest.raises(ServiceError, match="what was wrong") as refused:
        client.reconstruct(b"x")
    assert (refused.value.status, refused.value.code, refused.value.request_id) == (503, "overloaded", "r-9")
    assert len(server.seen) == 3


@pytest.mark.parametrize("code", ["unauthorized", "too_large", "unprocessable", "internal"])
def test_what_will_not_pass_is_said_at_once(code: str, server: Told):
    server.answers = [problem(code)]
    with Client(server.url) as client, pytest.raises(ServiceError) as refused:
        client.reconstruct(b"x")
    assert refused.value.code == code
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b'{"request_id": "r", "model_ver'),
        (200, {}, b"[]"),
        (200, {}, b"<html>"),
        (302, {"Location": "http://127.0.0.2/"}, b""),
        (500, {}, b"Internal Server Error"),
    ],
)
def test_an_answer_that_is_none(answer, server: Told):
    server.answers = [answer]
    with Client(server.url) as client, pytest.raises(ServiceError):
        client.reconstruct(b"x")
    assert len(server.seen) == 1


def test_files_inline_and_by_link(server: Told):
    server.answers = [(200, {}, b"the mesh")]
    with Client(server.url) as client:
        assert client.output(Output(media_type="x", base64="aGk=")) == b"hi"
        assert client.output(Output(media_type="x", href="/v1/results/n")) == b"the mesh"
        assert server.seen[0][1] == "/v1/results/n"
        for elsewhere in ("http://127.0.0.2/x", "//127.0.0.2/x", "file:///etc/passwd"):
            with pytest.raises(ServiceError, match="not followed"):
                client.output(Output(media_type="x", href=elsewhere))
    assert len(server.seen) == 1


def test_nobody_there_and_no_address():
    with Client("http://127.0.0.1:9", retries=0) as client:
        assert not client.ready()
        with pytest.raises(ServiceError, match="does not answer"):
            client.model()
    for url in ("127.0.0.1:8000", "ftp://127.0.0.1", ""):
        with pytest.raises(ConfigError, match="no address"):
            Client(url)
    with Client("http://127.0.0.1:9") as client, pytest.raises(ConfigError, match="cannot be read"):
        client.reconstruct("/nothing/here.jpg")
