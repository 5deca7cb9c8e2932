"""The log of a run: records with rank and step for whoever watches, and nothing more on the terminal than before."""

import io
import logging
from datetime import datetime

import pytest

from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.logs import PACKAGE, forward_logs

logger = logging.getLogger(f"{PACKAGE}.training.run")


@pytest.fixture
def terminal():
    """What the command line shows on stderr: everything that the package's level lets through."""
    package, root = logging.getLogger(PACKAGE), logging.getLogger()
    stream, level = io.StringIO(), package.level
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root.addHandler(handler)
    yield stream, handler
    root.removeHandler(handler)
    package.setLevel(level)


def speak() -> None:
    logger.debug("a tensor has a shape")
    logger.info("phase %s begins, cycle %d", "em_seg", 1)
    logger.warning("the step is skipped")


def test_a_record_has_time_level_rank_step_logger_and_message(listener):
    step = 7
    with forward_logs(listener, rank=2, current_step=lambda: step):
        speak()
        step = 8
        logger.error("the end")
    lines = listener.of("on_log")
    assert [(line["level"], line["step"], line["message"]) for line in lines] == [
        ("info", 7, "phase em_seg begins, cycle 1"),
        ("warning", 7, "the step is skipped"),
        ("error", 8, "the end"),
    ]
    assert {line["rank"] for line in lines} == {2}
    assert {line["logger"] for line in lines} == {"focus_ray.training.run"}
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in lines)
    assert set(lines[0]) == {"time", "level", "rank", "step", "logger", "message"}


def test_other_packages_are_not_in_the_log_of_a_run(listener):
    with forward_logs(listener, rank=0, current_step=lambda: 0):
        logging.getLogger("somebody.else").error("nothing of ours")
    assert listener.of("on_log") == []


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logging.WARNING, ["WARNING the step is skipped"]),
        (logging.INFO, ["INFO phase em_seg begins, cycle 1", "WARNING the step is skipped"]),
        (
            logging.DEBUG,
            ["DEBUG a tensor has a shape", "INFO phase em_seg begins, cycle 1", "WARNING the step is skipped"],
        ),
        (logging.ERROR, []),
    ],
)
def test_the_terminal_shows_what_it_was_asked_for(terminal, listener, level, shown):
    stream, _ = terminal
    logging.getLogger(PACKAGE).setLevel(level)
    with forward_logs(listener, rank=0, current_step=lambda: 0):
        speak()
    assert stream.getvalue().splitlines() == shown
    assert [line["level"] for line in listener.of("on_log")] == ["info", "warning"]


def test_afterwards_everything_is_as_before(terminal, listener):
    stream, handler = terminal
    package = logging.getLogger(PACKAGE)
    package.setLevel(logging.WARNING)
    handlers = list(package.handlers)
    with pytest.raises(RuntimeError), forward_logs(listener, rank=0, current_step=lambda: 0):
        raise RuntimeError
    assert package.level == logging.WARNING
    assert package.handlers == handlers
    assert handler.level == logging.NOTSET
    speak()
    assert listener.of("on_log") == []
    assert stream.getvalue().splitlines() == ["WARNING the step is skipped"]


def test_a_watcher_that_cannot_write_does_not_end_the_run(monkeypatch):
    class Full(Callback):
        def on_log(self, entry) -> None:
            raise OSError("no space left")

    monkeypatch.setattr(logging, "raiseExceptions", False)  # in a run, Python says it on stderr
    with forward_logs(Full(), rank=0, current_step=lambda: 0):
        logger.warning("the step is skipped")
