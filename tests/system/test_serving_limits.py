"""A real endpoint at its limits: too many requests, replicas that follow the load, hostile bytes, a long run.

Each drill has an endpoint of its own with the settings that it is about, and wants a quiet machine.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.system.endpoint import MODEL, Endpoint, run_endpoint, write_crops
from tests.system.hostile import RequestCase, cases

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]
ALIGNED = "aligned=true"
Record = Callable[[str, Any], None]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, world_face) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"), 64, world_face)


def test_five_times_what_it_can(tmp_path: Path, pictures: Path, record_property: Record):
    # One client stands for many: what it may have at once is another limit than the one that this is about.
    options = ("models.most=1", "ingress.most=1", "admission.requests_of_a_client=512")
    with run_endpoint(tmp_path, *(part for option in options for part in ("--set", option))) as running:
        running.start_load(pictures, ALIGNED, concurrency=4, seconds=10).result()
        capacity = running.start_load(pictures, ALIGNED, concurrency=8, seconds=20).result()["rate"]
        before = running.memory()
        busy = running.start_load(pictures, ALIGNED, rate=0.8 * capacity, seconds=40).result()
        over = running.start_load(pictures, ALIGNED, rate=5 * capacity, seconds=40).result()
        grown = (running.memory() - before) / 1e6
        for name, value in {"capacity": capacity, "at_80": busy, "at_500": over, "grown_mb": grown}.items():
            record_property(name, value)
    assert set(over["statuses"]) <= {"200", "503"}
    assert over["without_retry_after"] == 0
    assert over["failed"] == 0
    assert over["accepted"]["p99_ms"] < 2 * busy["accepted"]["p99_ms"]
    assert over["rejected"]["p99_ms"] < 100
    assert grown < 200


def test_replicas_follow_the_load(tmp_path: Path, pictures: Path, record_property: Record):
    options = ("models.most=2", "models.ongoing=2", "models.up_seconds=3", "models.down_seconds=10")
    with run_endpoint(tmp_path, *(part for option in options for part in ("--set", option))) as running:
        seen: list[tuple[float, int]] = []
        begin = time.monotonic()
        loading = running.start_load(pictures, ALIGNED, concurrency=8, seconds=90)
        while time.monotonic() - begin < 240:
            count = len(running.processes(MODEL))
            if not seen or seen[-1][1] != count:
                seen.append((round(time.monotonic() - begin, 1), count))
            if loading.process.poll() is not None and count == 1 and len(seen) > 1:
                break
            time.sleep(0.5)
        record_property("replicas", seen)
        assert loading.result()["failed"] == 0
    counts = [count for _, count in seen]
    assert counts == [1, 2, 1]


def test_twenty_thousand_requests(tmp_path: Path, pictures: Path, record_property: Record):
    with run_endpoint(tmp_path, "--set", "models.most=1", "--set", "ingress.most=1") as running:
        running.start_load(pictures, f"{ALIGNED}&refine=false", concurrency=4, requests=2000, seconds=600).result()
        memory, files = [], []
        for _ in range(9):
            seen = running.start_load(
                pictures, f"{ALIGNED}&refine=false", concurrency=4, requests=2000, seconds=600
            ).result()
            assert seen["statuses"] == {"200": 2000}
            memory.append(running.memory() / 1e6)
            files.append(running.descriptors())
        slope = float(np.polyfit(np.arange(5), memory[-5:], 1)[0]) / 2  # MB a thousand
        record_property("memory_mb", memory)
        record_property("files", files)
        record_property("mb_per_1000", slope)
    assert slope < 1.0
    assert max(files) - min(files) < 20


def test_hostile_bytes(tmp_path: Path, pictures: Path, record_property: Record):
    """From a few at once, as many as one client may be: many say half of something, and are waited for."""
    with (
        run_endpoint(tmp_path, "--set", "refine=false", "--set", "admission.body_seconds=5") as running,
        ThreadPoolExecutor(6) as attackers,
    ):
        running.start_load(pictures, ALIGNED, concurrency=4, requests=200).result()
        steady, highest, wrong = running.memory(), 0.0, []
        everything = cases()
        answers = attackers.map(partial(send_case, running), everything)
        for number, (case, (status, text)) in enumerate(zip(everything, answers, strict=True)):
            if status not in (*case.allowed, 0 if case.raw else -1):
                wrong.append(f"{case.name}: {status} {text[:120]!r}")
            if any(leak in text for leak in (b"Traceback", b"site-packages", b"/tmp/", b"focus_ray/")):
                wrong.append(f"{case.name} leaks")
            if number % 50 == 0:
                highest = max(highest, running.memory())
        grown = (highest - steady) / 1e6
        record_property("cases", len(everything))
        record_property("grown_mb", grown)
        record_property("wrong", wrong)
        assert running.get("/readyz")[0] == 200
    assert wrong == []
    assert grown < 200


def send_case(running: Endpoint, case: RequestCase) -> tuple[int, bytes]:
    """Status and answer; 0 where the connection was closed without one."""
    place = urlsplit(running.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        received = b""
        try:
            connection.sendall(case.raw if case.raw is not None else encode_request(case))
            while piece := connection.recv(1 << 16):
                received += piece
        except OSError:
            pass
    if received.startswith(b"HTTP/1.1 100 "):  # go on: not yet an answer
        received = received.partition(b"\r\n\r\n")[2]
    words = received.split(b" ", 2)
    return (int(words[1]), received) if len(words) > 2 and words[1].isdigit() else (0, received)


def encode_request(case: RequestCase) -> bytes:
    """A case as it goes over the wire; what has several pieces comes in chunks."""
    lines = [f"{case.method} {case.path} HTTP/1.1", "Connection: close"]
    lines += [] if any(name == "Host" for name, _ in case.headers) else ["Host: x"]
    lines += [f"{name}: {value}" for name, value in case.headers]
    if len(case.pieces) > 1:
        lines += ["Transfer-Encoding: chunked"]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in case.pieces if piece) + b"0\r\n\r\n"
    else:
        lines += [f"Content-Length: {len(case.body)}"] if case.body else []
        body = case.body
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
