"""The load generator against a small server that is told what to answer; and, as a drill, nobody's answer is another's.

What the drills of the endpoint conclude from the generator stands on this.
"""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from focus_ray.data.image_file import read_image
from tests.http_servers import QuietHandler, Response, serve_handler
from tests.system.endpoint import ROOT, run_endpoint, write_crops, write_photographs
from tests.system.load import AnswerStore, LoadGenerator, Picture, load_images

PICTURES = [Picture(f"{number}.png", b"picture %d" % number) for number in range(4)]
BUSY: Response = (503, {"Retry-After": "0"}, b"busy")


def fake_answer(body: bytes) -> Response:
    """An answer that only this picture has."""
    shade = hashlib.sha256(body).digest()[0] / 255
    face = {"theta": {"identity": [shade, 1.0]}, "landmarks": [[3.0, 4.0]]}
    document = {"model_version": "v", "image": {"width": 8, "height": 8}, "faces": [face]}
    return 200, {}, json.dumps(document).encode()


class FakeServer:
    """Where it listens, and what it answers to a body."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.answer: Callable[[bytes], Response | None] = fake_answer  # None: the connection is lost


@pytest.fixture
def server() -> Iterator[FakeServer]:
    stand_in = FakeServer()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.read_body()
            stand_in.bodies.append(body)
            answer = stand_in.answer(body)
            if answer is not None:
                self.respond(answer)

    with serve_handler(Handler) as url:
        stand_in.url = f"{url}/v1/reconstructions"
        yield stand_in


def run_closed(load: LoadGenerator, requests: int = 8, concurrency: int = 2) -> dict[str, Any]:
    return load.stats.summary(asyncio.run(load.run_closed_loop(concurrency, 30, requests)))


def test_every_picture_in_its_turn(server: FakeServer):
    seen = run_closed(LoadGenerator(server.url, PICTURES))
    assert sorted(server.bodies) == sorted(2 * [picture.content for picture in PICTURES])
    assert (seen["requests"], seen["statuses"], seen["versions"], seen["failed"]) == (8, {"200": 8}, {"v": 8}, 0)
    assert sum(seen["by_second"]) == 8
    assert seen["accepted"]["p50_ms"] <= seen["accepted"]["p99_ms"] <= seen["accepted"]["max_ms"]


def test_answers_that_are_swapped_are_failures(server: FakeServer):
    kept = AnswerStore()
    run_closed(LoadGenerator(server.url, PICTURES, recorded=kept))
    expected = AnswerStore(json.loads(json.dumps(kept.known)))
    assert run_closed(LoadGenerator(server.url, PICTURES, expected=expected))["failed"] == 0
    server.answer = lambda body: fake_answer(PICTURES[1].content)
    seen = run_closed(LoadGenerator(server.url, PICTURES, expected=expected))
    assert (seen["failed"], sum(seen["failed_by_second"]), sum(seen["by_second"])) == (6, 6, 2)
    assert "not the answer to this picture" in seen["failures"][0][1]


def test_one_that_is_always_refused_is_expected_to_be(server: FakeServer):
    server.answer = lambda body: (422, {}, b"no picture") if body == PICTURES[2].content else fake_answer(body)
    kept = AnswerStore()
    seen = run_closed(LoadGenerator(server.url, PICTURES, recorded=kept))
    assert (seen["failed"], seen["failures"][0][1]) == (2, "422 no picture")
    seen = run_closed(LoadGenerator(server.url, PICTURES, expected=kept))
    assert (seen["failed"], seen["refused_as_expected"], sum(seen["by_second"])) == (0, 2, 6)
    server.answer = fake_answer
    assert run_closed(LoadGenerator(server.url, PICTURES, expected=kept))["failed"] == 2


@pytest.mark.parametrize("first", [BUSY, (502, {}, b""), None])
def test_one_more_try(first: Response | None, server: FakeServer):
    def answer(body: bytes) -> Response | None:
        return first if server.bodies.count(body) == 1 else fake_answer(body)

    server.answer = answer
    seen = run_closed(LoadGenerator(server.url, PICTURES, retry=True), requests=4)
    assert (seen["retries"], seen["failed"], seen["rejected"], sum(seen["by_second"])) == (4, 0, {}, 4)
    server.bodies.clear()
    seen = run_closed(LoadGenerator(server.url, PICTURES), requests=4)
    assert seen["retries"] == sum(seen["by_second"]) == 0
    assert sum(seen["rejected_by_second"]) + seen["failed"] == 4


def test_what_no_try_would_mend_is_not_tried_again(server: FakeServer):
    server.answer = lambda body: (422, {}, b"")
    assert run_closed(LoadGenerator(server.url, PICTURES, retry=True), requests=4)["retries"] == 0


def test_a_rejection_without_retry_after_is_counted(server: FakeServer):
    server.answer = lambda body: BUSY if body == PICTURES[0].content else (503, {}, b"")
    seen = run_closed(LoadGenerator(server.url, PICTURES), requests=4)
    assert (seen["without_retry_after"], seen["failed"], set(seen["rejected"])) == (
        3,
        0,
        {"p50_ms", "p90_ms", "p99_ms", "max_ms"},
    )


def test_answers_that_are_none_are_failures(server: FakeServer):
    elsewhere = f"http://127.0.0.1:{server.url.split(':')[2].split('/')[0]}/elsewhere"
    for answer in ((200, {}, b'{"model_ver'), (200, {}, b"{}"), (307, {"Location": elsewhere}, b""), (500, {}, b"")):
        server.bodies.clear()
        server.answer = lambda body, answer=answer: answer
        assert run_closed(LoadGenerator(server.url, PICTURES), requests=2)["failed"] == 2
        assert len(server.bodies) == 2


def test_at_a_fixed_rate_waiting_counts_from_when_a_request_was_due(server: FakeServer):
    held: list[float] = []

    def answer(body: bytes) -> Response:
        held.append(time.monotonic())
        time.sleep(max(0.0, held[0] + 0.6 - time.monotonic()))
        return fake_answer(body)

    server.answer = answer
    load = LoadGenerator(server.url, PICTURES)
    seen = load.stats.summary(asyncio.run(load.run_open_loop(20.0, 0.75)))
    assert len(server.bodies) == 15
    assert seen["accepted"]["max_ms"] >= 590
    assert seen["accepted"]["p50_ms"] >= 200


def test_only_this_machine(tmp_path: Path):
    for url in ("http://example.org/", "http://localhost:8000/", "https://127.0.0.1/", "http://127.0.0.1.example.org/"):
        with pytest.raises(SystemExit, match="not on this machine"):
            LoadGenerator(url, PICTURES)
    with pytest.raises(SystemExit, match="no pictures"):
        LoadGenerator("http://127.0.0.1:9/", load_images(tmp_path))


def test_as_a_process_that_is_told_to_end(server: FakeServer, tmp_path: Path):
    for picture in PICTURES:
        (tmp_path / picture.name).write_bytes(picture.content)
    kept = tmp_path / "kept.json"
    command = [sys.executable, "-m", "tests.system.load", "--url", server.url, "--pictures", str(tmp_path)]
    process = subprocess.Popen([*command, "--seconds", "60", "--keep", str(kept)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        while len(server.bodies) < 8 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    seen = json.loads(out)
    assert (process.returncode, seen["failed"]) == (0, 0)
    assert seen["requests"] == len(server.bodies)
    assert set(json.loads(kept.read_text())) == {picture.name for picture in PICTURES}


def test_photographs_show_a_face_each(tmp_path: Path, world_face):
    pictures = [read_image(path) for path in sorted(write_photographs(tmp_path, 2, world_face).iterdir())]
    assert [picture.shape for picture in pictures] == [(320, 320, 3)] * 2
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_five_hundred_faces_and_some_that_are_none(
    tmp_path: Path, world_face, record_property: Callable[[str, Any], None]
):
    pictures = write_crops(tmp_path / "crops", 500, world_face)
    for number in (100, 200, 300):  # among the others, at any time in flight with them
        (pictures / f"{number:05}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    check_answers_match(tmp_path, pictures, 3, record_property)


def check_answers_match(
    folder: Path, pictures: Path, poisoned: int, record_property: Callable[[str, Any], None]
) -> None:
    """Answers to 32 at once are those of one after the other, and those that cannot be used are refused alone."""
    count = len(list(pictures.iterdir()))
    options = ("admission.requests_at_once=64", "admission.requests_of_a_client=64", "models.least=2")
    with run_endpoint(folder, *(part for option in options for part in ("--set", option))) as running:
        for query in ("aligned=true&refine=false", "aligned=true&refine=true"):
            kept, asked = folder / "kept.json", {"requests": count, "seconds": 600}
            alone = running.start_load(pictures, query, keep=kept, **asked).result()
            together = running.start_load(pictures, query, concurrency=32, retry=True, expected=kept, **asked).result()
            record_property(query, together)
            assert alone["failed"] == poisoned
            assert alone["statuses"] == {"200": count - poisoned, "422": poisoned}
            assert together["failures"] == []
            assert together["refused_as_expected"] == poisoned
            assert sum(together["by_second"]) == count - poisoned
