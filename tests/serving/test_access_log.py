"""A line for each request, that says what is needed to run a service and nothing about people."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.serving.access_log import LOGGER, AccessLogEntry, format_entry, log, route_of, set_up

NOON = datetime(2026, 11, 27, 12, 0, 0, 123_456, UTC)
ASKED = AccessLogEntry("r-1", "alice", "POST", "/v1/reconstructions", 200, None, 34_567, 0.123456, faces=2)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards it is as it was."""
    logger = logging.getLogger(LOGGER)
    before = (logger.level, logger.propagate, [*logger.handlers])
    stream = io.StringIO()
    set_up(stream)
    yield stream
    logger.level, logger.propagate, logger.handlers[:] = before


def test_what_a_line_says():
    assert json.loads(format_entry(ASKED, NOON)) == {
        "time": "2026-11-27T12:00:00.123+00:00",
        "request_id": "r-1",
        "client": "alice",
        "method": "POST",
        "route": "/v1/reconstructions",
        "status": 200,
        "reason": None,
        "bytes_in": 34567,
        "milliseconds": 123.5,
        "faces": 2,
    }
    refused = replace(ASKED, client=None, status=503, reason="model_queue", faces=None)
    said = json.loads(format_entry(refused, NOON.astimezone(timezone(timedelta(hours=5)))))
    assert (said["client"], said["reason"], said["faces"]) == ("anonymous", "model_queue", None)
    assert said["time"] == "2026-11-27T12:00:00.123+00:00"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/v1/reconstructions", "/v1/reconstructions"),
        ("/v1/reconstructions:batch", "/v1/reconstructions:batch"),
        ("/v1/results/sEcReT-name_1", "/v1/results/{name}"),
        ("/v1/results/a/b", "other"),
        ("/assets/page.js", "/assets/{file}"),
        ("/v1/reconstructions/", "other"),
        ("/../etc/passwd", "other"),
        ("", "other"),
        ("/v1/results/", "other"),
        ("/v1/results/a\n", "/v1/results/{name}"),
    ],
)
def test_routes(path: str, route: str):
    assert route_of(path) == route


@given(path=st.text(max_size=400), method=st.text(max_size=40))
def test_a_line_is_one_line_of_few_bytes_whatever_was_asked(path: str, method: str):
    said = format_entry(replace(ASKED, path=path, method=method), NOON)
    assert "\n" not in said
    assert said.isascii()
    assert len(said) < 300
    assert json.loads(said)["method"] in {"GET", "HEAD", "POST", "OPTIONS", "other"}


def test_no_secret_of_a_path_is_written():
    assert "sEcReT" not in format_entry(replace(ASKED, path="/v1/results/sEcReT"), NOON)


def test_lines_go_to_the_stream_and_nowhere_else(stream: io.StringIO):
    elsewhere = io.StringIO()
    handler = logging.StreamHandler(elsewhere)
    logging.getLogger().addHandler(handler)
    log(ASKED)
    log(replace(ASKED, request_id="r-2"))
    logging.getLogger().removeHandler(handler)
    lines = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert [one["request_id"] for one in lines] == ["r-1", "r-2"]
    assert elsewhere.getvalue() == ""
    written = datetime.fromisoformat(lines[0]["time"])
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)


def test_setting_up_twice_writes_once(stream: io.StringIO):
    set_up(stream)
    log(ASKED)
    assert len(stream.getvalue().splitlines()) == 1


def test_without_a_log_nothing_is_written(capsys: pytest.CaptureFixture[str]):
    log(ASKED)
    assert capsys.readouterr() == ("", "")
