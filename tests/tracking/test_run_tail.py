"""History and evaluations read while they grow, tear and are replaced."""

import json
import os
from pathlib import Path

import pytest

from focus_ray.tracking.run_tail import RunFiles, Window, iter_windows, read_new_evaluations, read_steps
from tests.tracking.tracked_run import add_evaluation, add_sheet, add_steps, begin_run, expected_curve, line


def windows(run: Path, log_every: int, sent: int = 0, *, flush: bool = False) -> list[Window]:
    return list(iter_windows(read_steps(run / "history.jsonl", sent), log_every, flush=flush))


def ends(run: Path, log_every: int, sent: int = 0, *, flush: bool = False) -> list[int]:
    return [window.end_step for window in windows(run, log_every, sent, flush=flush)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return begin_run(tmp_path / "run")


def test_windows_end_at_multiples_and_where_a_phase_ends(run):
    add_steps(run, range(230))
    assert ends(run, 100) == [100, 200, 205]
    assert ends(run, 100, sent=205) == []
    assert ends(run, 100, sent=205, flush=True) == [230]


def test_a_window_grows_until_it_is_full(run):
    found = [0]
    for step in range(35):
        add_steps(run, [step])
        found += ends(run, 10, sent=found[-1])
    assert found == [0, 10, 20, 30]


def test_means_leave_out_what_is_not_there(run):
    add_steps(run, range(20))
    found = windows(run, 10)
    for window in found:
        means = window.means()
        assert means["train/loss/total"] == pytest.approx(expected_curve("loss/total", 20)[window.end_step])
        assert "train/mask_mean" not in means
    assert [window.nonfinite for window in found] == [1, 0]  # the loss of step 5
    assert found[0].means()["train/skipped"] == 0.1


def test_sent_steps_are_passed_over_and_windows_begin_behind_them(run):
    add_steps(run, range(40))
    first, *_ = found = windows(run, 10, sent=17)
    assert [window.end_step for window in found] == [20, 30, 40]
    assert first.means()["train/loss/warmup_term"] == pytest.approx(sum(0.25 + step % 7 for step in (17, 18, 19)) / 3)


@pytest.mark.parametrize("first", [0, 1, 4321, 4999, 5000, 7000])
def test_the_end_of_a_long_history_is_read_without_its_beginning(run, first):
    add_steps(run, range(5000))  # far longer than what is read first
    assert [line["step"] for line in read_steps(run / "history.jsonl", first)] == list(range(first, 5000))


def test_a_torn_line_waits_for_its_rest(run):
    add_steps(run, range(9))
    whole = json.dumps(line(9)) + "\n"
    with (run / "history.jsonl").open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert ends(run, 5) == [5]
        assert ends(run, 5, flush=True) == [5, 9]
        file.write(whole[20:])
    assert ends(run, 5, sent=9) == [10]


@pytest.mark.parametrize("content", ["nonsense\n", "[]\n", '{"step": "x"}\n', "\n", '{"step": 1.5}\n'])
def test_what_is_no_step_is_not_read_past(run, content):
    add_steps(run, range(10))
    with (run / "history.jsonl").open("a") as file:
        file.write(content)
    add_steps(run, range(10, 20))
    assert ends(run, 10, flush=True) == [10]


def test_a_history_that_was_cut_and_grows_again(run):
    """A driver that resumes an earlier checkpoint replaces the file by a shorter one."""
    add_steps(run, range(100))
    assert ends(run, 10)[-1] == 100
    kept = (run / "history.jsonl").read_text().splitlines(keepends=True)[:60]
    (run / "new").write_text("".join(kept))
    os.replace(run / "new", run / "history.jsonl")
    assert ends(run, 10, sent=100) == []
    add_steps(run, range(60, 125))  # longer than before, too
    assert ends(run, 10, sent=100) == [110, 120]


def timed(step: int) -> str:
    """A step's line with its time: one a minute, far longer than its seconds."""
    return json.dumps(line(step) | {"time": 1.8e9 + 60 * step}) + "\n"


def test_a_steps_time_is_that_of_its_line(run):
    """A run that was copied: the file's last change says nothing."""
    (run / "history.jsonl").write_text("".join(map(timed, range(20))))
    found = windows(run, 10)
    assert [window.time_ms for window in found] == [1_800_000_540_000, 1_800_001_140_000]
    assert "train/time" not in found[0].means()


@pytest.mark.parametrize("nonsense", [None, True, "noon", float("nan"), float("inf"), -1.0])
def test_lines_without_a_time_end_where_the_next_one_begins(run, nonsense):
    """A run that an older version began, and lines whose time is none."""
    older = [json.dumps(line(step) | ({} if nonsense is None else {"time": nonsense})) + "\n" for step in range(10)]
    (run / "history.jsonl").write_text("".join([*older, *map(timed, range(10, 20))]))
    os.utime(run / "history.jsonl", (1.9e9, 1.9e9))
    first, second = (window.time_ms for window in windows(run, 10))
    assert first == 1_800_000_600_000 - 125
    assert second == 1_800_001_140_000


def test_without_any_time_the_last_step_has_that_of_the_file(run):
    add_steps(run, range(20), timed=False)
    os.utime(run / "history.jsonl", (1.9e9, 1.9e9))
    assert [window.time_ms for window in windows(run, 10)] == [1_900_000_000_000 - 1250, 1_900_000_000_000]


def test_no_history_yet(tmp_path):
    assert ends(tmp_path, 10, flush=True) == []
    assert read_new_evaluations(tmp_path / "evaluations.jsonl", -1) == []


def test_evaluations_after_a_step(run):
    for step in (0, 500, 1000):
        add_evaluation(run, step)
    with (run / "evaluations.jsonl").open("a") as file:
        file.write('{"step": 1500, "heldout": {"all"')
    found = read_new_evaluations(run / "evaluations.jsonl", -1)
    assert [one.step for one in found] == [0, 500, 1000]
    assert found[1].leaves == ({"eval/heldout/all/f1": 0.05}, 1)
    assert [one.step for one in read_new_evaluations(run / "evaluations.jsonl", 500)] == [1000]


def test_a_file_is_listed_until_it_was_sent_as_it_is(run):
    add_sheet(run, 500)
    (run / "sheets" / ".step-00000600.png.partial-1").touch()
    (run / "face.safetensors").touch()
    files = RunFiles(run)
    sent = dict(files.iter_changed({}))
    assert list(sent) == ["config.json", "sheets/step-00000500.png"]
    assert list(files.iter_changed(sent)) == []
    add_sheet(run, 500, b"another picture")
    (run / "report.html").write_text("new")
    assert [name for name, _ in files.iter_changed(sent)] == ["report.html", "sheets/step-00000500.png"]


def test_a_prior_belongs_to_its_run(run):
    (run / "prior").mkdir()
    for name in ("prior/prior.json", "prior/prior.safetensors", "misfit.glb", "sheets/misfit-posed.png"):
        (run / name).write_bytes(b"content")
    found = [name for name, _ in RunFiles(run).iter_changed({})]
    assert found == [
        "config.json",
        "misfit.glb",
        "sheets/misfit-posed.png",
        "prior/prior.json",
        "prior/prior.safetensors",
    ]
