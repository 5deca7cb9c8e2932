"""The client against small servers: what it sends, what it tries again, and what it does not do."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from focus_ray.errors import ConfigError, ServiceError
from focus_ray.serving.client import Client
from focus_ray.serving.problems import MEDIA_TYPE, Problem
from focus_ray.serving.schema import Output
from tests.http_servers import QuietHandler, Response, serve_handler

ANSWER = {"request_id": "r", "model_version": "v", "image": {"width": 2, "height": 3}, "faces": []}
SILENCE = (0, {}, b"")
OK = (200, {"Content-Type": "application/json"}, json.dumps(ANSWER).encode())


def problem(code: str, **more) -> Response:
    told = Problem(code, "what was wrong; what to do", **more)
    return told.status, {"Content-Type": MEDIA_TYPE, **told.headers()}, told.body("r-9")


class Told:
    """A server that gives the answers it is told to, the last one for good.

    None breaks the connection, SILENCE holds it, an answer with its own Content-Length may break off.
    """

    def __init__(self) -> None:
        self.answers: list[Response | None] = [OK]
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""
        self.over = threading.Event()


@pytest.fixture
def server() -> Iterator[Told]:
    told = Told()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            told.seen.append((self.command, self.path, dict(self.headers), self.read_body()))
            answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if answer is SILENCE:
                told.over.wait(10)
            if answer is None or answer is SILENCE:
                self.close_connection = True
                return
            self.respond(answer)

        do_POST = do_GET

    with serve_handler(Handler) as url:
        told.url = url
        yield told
        told.over.set()


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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, without making them."""
    made: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", made.append)
    return made


CRASH = (500, {"Content-Type": "text/plain"}, b"Internal Server Error")
BROKEN_OFF = (200, {"Content-Length": "900"}, b'{"request_id": "r", "model_ver')


@pytest.mark.parametrize(
    "again", [problem("overloaded"), problem("too_many_requests"), (502, {}, b""), (504, {}, b""), CRASH, None]
)
def test_what_may_pass_is_tried_again(again, server: Told, pauses: list[float]):
    server.answers = [again, again, OK]
    with Client(server.url, retries=2) as client:
        assert client.reconstruct(b"x").faces == []
    assert len(server.seen) == 3
    assert 0.2 <= pauses[0] <= 0.4 <= pauses[1] <= 0.8


@pytest.mark.parametrize(("said", "least", "most"), [("7", 7, 7), ("soon", 0.2, 0.4), ("0", 0.2, 0.4)])
def test_retry_after_is_kept_to(said: str, least: float, most: float, server: Told, pauses: list[float]):
    status, headers, content = problem("overloaded")
    server.answers = [(status, {**headers, "Retry-After": said}, content), OK]
    with Client(server.url) as client:
        client.reconstruct(b"x")
    assert len(pauses) == 1
    assert least <= pauses[0] <= most


def test_a_pause_that_is_longer_than_its_patience_is_not_made(server: Told, pauses: list[float]):
    server.answers = [problem("overloaded", retry_after=3600)]
    with Client(server.url, timeout=30.0) as client, pytest.raises(ServiceError) as refused:
        client.reconstruct(b"x")
    assert (refused.value.code, len(server.seen), pauses) == ("overloaded", 1, [])


def test_an_answer_that_breaks_off_is_asked_for_once_more(server: Told):
    server.answers = [BROKEN_OFF, OK]
    with Client(server.url) as client:
        assert client.reconstruct(b"x").faces == []
    server.answers = [BROKEN_OFF]
    with Client(server.url) as client, pytest.raises(ServiceError, match="does not respond"):
        client.reconstruct(b"x")
    assert len(server.seen) == 4


def test_silence_has_an_end(server: Told):
    server.answers = [SILENCE]
    with Client(server.url, retries=5, timeout=0.2) as client, pytest.raises(ServiceError, match="does not respond"):
        client.reconstruct(b"x")
    assert len(server.seen) < 4


def test_it_gives_up(server: Told, pauses: list[float]):
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
        (403, {}, b"a proxy's page"),
    ],
)
def test_an_answer_that_is_none(answer, server: Told):
    server.answers = [answer]
    with Client(server.url) as client, pytest.raises(ServiceError):
        client.reconstruct(b"x")
    assert len(server.seen) == 1


def test_a_redirect_gets_neither_a_visit_nor_the_key(server: Told):
    for elsewhere in (f"{server.url}/x", server.url.replace("127.0.0.1", "localhost")):
        server.answers = [(307, {"Location": elsewhere}, b"")]
        with Client(server.url, key="fr_k") as client, pytest.raises(ServiceError, match="307"):
            client.reconstruct(b"x")
    assert [path for _, path, _, _ in server.seen] == ["/v1/reconstructions"] * 2


def test_cookies_are_not_kept(server: Told):
    server.answers = [(200, {"Set-Cookie": "who=me"}, OK[2])]
    with Client(server.url) as client:
        client.reconstruct(b"x")
        client.reconstruct(b"x")
    assert "Cookie" not in server.seen[1][2]


def test_several_pictures_and_the_model(server: Told):
    results = [{"index": 0, "name": "picture", "reconstruction": ANSWER}]
    batch = {"request_id": "r", "model_version": "v", "results": results}
    server.answers = [(200, {}, json.dumps(batch).encode())]
    with Client(server.url) as client:
        assert client.reconstruct_batch([b"one", b"two"], aligned=True).results[0].index == 0
        with pytest.raises(ServiceError, match="unknown format"):
            client.model()
    assert server.seen[0][3].count(b'name="images"') == 2
    assert [path for _, path, _, _ in server.seen] == ["/v1/reconstructions:batch", "/v1/model"]


def test_ready_is_about_now(server: Told, pauses: list[float]):
    server.answers = [problem("overloaded", retry_after=1), OK]
    with Client(server.url) as client:
        assert not client.is_ready()
        assert client.is_ready()
    assert pauses == []


def test_threads_share_a_client(server: Told):
    with Client(server.url) as client, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(client.reconstruct, [b"x"] * 40))
    assert len(answers) == len(server.seen) == 40


def test_files_inline_and_by_link(server: Told):
    server.answers = [(200, {}, b"the mesh")]
    with Client(server.url) as client:
        assert client.download(Output(media_type="x", base64="aGk=")) == b"hi"
        assert client.download(Output(media_type="x", href="/v1/results/n")) == b"the mesh"
        assert server.seen[0][1] == "/v1/results/n"
        for elsewhere in ("http://127.0.0.2/x", "//127.0.0.2/x", "//[", "file:///etc/passwd", "", None):
            with pytest.raises(ServiceError, match="not followed"):
                client.download(Output(media_type="x", href=elsewhere))
        with pytest.raises(ServiceError, match="damaged"):
            client.download(Output(media_type="x", base64="aGk"))
    assert len(server.seen) == 1


def test_nobody_there_and_no_address():
    with Client("http://127.0.0.1:9", retries=0) as client:
        assert not client.is_ready()
        with pytest.raises(ServiceError, match="does not respond"):
            client.model()
    for url in ("127.0.0.1:8000", "ftp://127.0.0.1", "", "http://", "http://[", "http://h:99999", "http://h/?a=b"):
        with pytest.raises(ConfigError, match="not the address of an endpoint"):
            Client(url)
    with Client("http://127.0.0.1:9") as client, pytest.raises(ConfigError, match="cannot be read"):
        client.reconstruct("/nothing/here.jpg")


def test_secrets_are_in_no_error():
    for key in ("fr_secret\n", "fr secret", "fr_sécret", ""):
        with pytest.raises(ConfigError, match="the key has") as refused:
            Client("http://127.0.0.1:9", key=key)
        assert "cret" not in str(refused.value)
    with pytest.raises(ConfigError, match="give the key as") as refused:
        Client("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(refused.value)
