"""Progress: bars on a terminal, a line now and then elsewhere, with rates and the time left."""

import io
import subprocess
from typing import Any

import pytest

from focus_ray import terminal
from focus_ray.focus.schedule import Phase, SchedulePosition
from focus_ray.focus.state import StepMetrics
from focus_ray.runtime.callbacks import ResumeHistory
from focus_ray.runtime.step_record import StepRecord
from focus_ray.terminal import TerminalProgress, format_duration


def record(phase: str = "warmup", **metrics: Any) -> StepRecord:
    """The record of any step of a phase."""
    told = {"losses": {"total": 0.1234567, "pixel": 2.0}, "mask_mean": None, "skipped": False} | metrics
    position = SchedulePosition(Phase(phase), cycle=0, in_phase=0, phase_total=1, in_block=0, in_stage=0)
    return StepRecord(0, position, StepMetrics(**told), None, 0.1, 0.0, 321.6, 1.8e9)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_at_each_phase_at_the_end_and_every_few_seconds_between(clock):
    stream = io.StringIO()
    with TerminalProgress(stream, every=10.0, clock=clock) as progress:
        progress.on_train_begin(total=100, done=0, history=ResumeHistory())
        for step in range(100):
            clock.now += 1.0
            progress.on_step_end(record("warmup" if step < 50 else "em_seg", mask_mean=None if step < 50 else 0.8123))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training: step 0 of 100"
    assert lines[1] == "warmup: step 1 of 100, loss 0.1235, 322 faces/s"  # nothing to tell a rate from yet
    assert "warmup: step 11 of 100, loss 0.1235, 322 faces/s, about 1 min left" in lines
    assert "em_seg: step 51 of 100, loss 0.1235, mask 0.81, 322 faces/s, about 49 s left" in lines
    assert lines[-1].startswith("em_seg: step 100 of 100")
    assert len(lines) == 12


def test_the_time_left_follows_the_rate_of_late(clock):
    stream = io.StringIO()
    progress = TerminalProgress(stream, every=0.0, clock=clock)
    progress.on_train_begin(total=1000, done=0, history=ResumeHistory())
    for step in range(200):
        clock.now += 60.0 if step == 0 else 1.0  # the first step compiles kernels
        progress.on_step_end(record())
    assert stream.getvalue().splitlines()[-1].endswith("about 13 min left")


def test_a_resumed_run_counts_from_where_it_was(clock):
    stream = io.StringIO()
    progress = TerminalProgress(stream, clock=clock)
    progress.on_train_begin(total=100, done=90, history=ResumeHistory())
    for _ in range(9):
        clock.now += 2.0
        progress.on_step_end(record())
    assert "step 91 of 100" in stream.getvalue()
    assert "step 99 of 100, loss 0.1235, 322 faces/s, about 2 s left" in stream.getvalue()


def test_work_beside_the_steps_and_notes_are_said(clock):
    stream = io.StringIO()
    progress = TerminalProgress(stream, every=10.0, clock=clock)
    for done in range(0, 401, 50):
        clock.now += 4.0
        progress.on_progress("scoring", done, 400)
    progress.on_message("guard: recalibrate")
    assert stream.getvalue().splitlines() == [
        "scoring: 0 of 400",
        "scoring: 150 of 400, 12.5/s, about 20 s left",
        "scoring: 300 of 400, 12.5/s, about 8 s left",
        "scoring: 400 of 400, 12.5/s",
        "guard: recalibrate",
    ]


def test_work_that_has_ended_is_said_once_and_may_begin_again(clock):
    stream = io.StringIO()
    progress = TerminalProgress(stream, clock=clock)
    for done in (2, 2, 1, 2):
        progress.on_progress("reading", done, 2)
    assert stream.getvalue().splitlines() == ["reading: 2 of 2", "reading: 1 of 2", "reading: 2 of 2"]


def test_a_long_line_is_not_broken(clock):
    stream = io.StringIO()
    TerminalProgress(stream, clock=clock).on_message("word " * 100)
    assert len(stream.getvalue().splitlines()) == 1


def test_skipped_and_resting_steps_say_so():
    assert terminal.format_metrics(record(skipped=True)) == "loss 0.1235, skipped, 322 faces/s"
    assert terminal.format_metrics(record(losses={})) == "no update, 322 faces/s"


def test_bars_show_phase_step_and_figures():
    stream = Terminal()
    with TerminalProgress(stream) as progress:
        progress.on_train_begin(total=10, done=3, history=ResumeHistory())
        progress.on_step_end(record("em_face", mask_mean=0.5))
        progress.on_progress("scoring", 1, 2)
        progress.on_progress("scoring", 2, 2)
        progress.on_message("a [note] as it is")
    text = stream.getvalue()
    assert "em_face" in text
    assert "4/10" in text
    assert "a [note] as it is" in text


def test_a_run_that_begins_again_after_a_failure_has_one_bar():
    with TerminalProgress(Terminal()) as progress:
        progress.on_train_begin(total=10, done=0, history=ResumeHistory())
        for _ in range(5):
            progress.on_step_end(record())
        progress.on_train_begin(total=10, done=2, history=ResumeHistory())
        progress.on_step_end(record())
        assert [task.completed for task in progress._bars.tasks] == [3]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (3599.0, "1 h 0 min"), (7260.0, "2 h 1 min")]
)
def test_durations_as_a_person_says_them(seconds, text):
    assert format_duration(seconds) == text


def test_a_display_of_progress_needs_no_torch(python, python_environment):
    code = "import sys, focus_ray.terminal; print({'torch', 'numpy'} & sys.modules.keys())"
    out = subprocess.check_output([python, "-c", code], env=python_environment, text=True, timeout=240)
    assert out == "set()\n"
