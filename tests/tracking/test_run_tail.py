"""History and evaluations read while they grow, tear and are replaced."""

import json
import os

import pytest

from focus_ray.tracking.run_tail import HistoryReader, RunFiles, read_new_evaluations
from tests.tracking.tracked_run import add_evaluation, add_sheet, add_steps, begin_run, expected_curve, line


def ends(history, sent=0, rest=False):
    return [window.end_step for window in history.windows(sent, flush=rest)]


@pytest.fixture
def run(tmp_path):
    return begin_run(tmp_path / "run")


def test_windows_end_at_multiples_and_where_a_phase_ends(run):
    add_steps(run, range(230))
    history = HistoryReader(run / "history.jsonl", 100)
    assert ends(history) == [100, 200, 205]
    assert ends(history) == []
    assert ends(history, rest=True) == [230]
    history.close()


def test_a_window_grows_until_it_is_full(run):
    history = HistoryReader(run / "history.jsonl", 10)
    found = []
    for step in range(35):
        add_steps(run, [step])
        found += ends(history)
    assert found == [10, 20, 30]
    history.close()


def test_means_leave_out_what_is_not_there(run):
    add_steps(run, range(20))
    history = HistoryReader(run / "history.jsonl", 10)
    windows = list(history.windows(0, flush=False))
    for window in windows:
        means = window.means()
        assert means["train/loss/total"] == pytest.approx(expected_curve("loss/total", 20)[window.end_step])
        assert "train/mask_mean" not in means
    assert [window.nonfinite for window in windows] == [1, 0]  # the loss of step 5
    assert windows[0].means()["train/skipped"] == 0.1
    history.close()


def test_sent_steps_are_passed_over_and_windows_begin_behind_them(run):
    add_steps(run, range(40))
    history = HistoryReader(run / "history.jsonl", 10)
    assert ends(history, sent=17) == [20, 30, 40]
    first = HistoryReader(run / "history.jsonl", 10)
    window = next(first.windows(17, flush=False))
    assert window.means()["train/loss/warmup_term"] == pytest.approx(sum(0.25 + step % 7 for step in (17, 18, 19)) / 3)
    history.close()
    first.close()


def test_a_torn_line_waits_for_its_rest(run):
    add_steps(run, range(9))
    history = HistoryReader(run / "history.jsonl", 5)
    whole = json.dumps(line(9)) + "\n"
    with (run / "history.jsonl").open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert ends(history) == [5]
        assert ends(history, rest=True) == [9]
        file.write(whole[20:])
    assert ends(history, sent=9) == [10]
    history.close()


@pytest.mark.parametrize("content", ["nonsense\n", "[]\n", '{"step": "x"}\n', "\n", '{"step": 1.5}\n'])
def test_what_is_no_step_is_not_read_past(run, content):
    add_steps(run, range(10))
    with (run / "history.jsonl").open("a") as file:
        file.write(content)
    add_steps(run, range(10, 20))
    history = HistoryReader(run / "history.jsonl", 10)
    assert ends(history, rest=True) == [10]
    history.close()


def test_a_shorter_file_in_its_place_is_read_from_the_beginning(run):
    add_steps(run, range(100))
    history = HistoryReader(run / "history.jsonl", 10)
    assert ends(history)[-1] == 100
    kept = (run / "history.jsonl").read_text().splitlines(keepends=True)[:60]
    (run / "new").write_text("".join(kept))
    os.replace(run / "new", run / "history.jsonl")
    assert ends(history, sent=100) == []
    add_steps(run, range(60, 125))  # longer than before, too
    assert ends(history, sent=100) == [110, 120]
    history.close()


def test_a_file_that_was_cut_in_its_place(run):
    add_steps(run, range(100))
    history = HistoryReader(run / "history.jsonl", 10)
    assert len(ends(history)) == 10
    os.truncate(run / "history.jsonl", 0)
    add_steps(run, range(20))
    assert ends(history) == [10, 20]
    history.close()


def test_times_are_told_once(run):
    add_steps(run, range(20))
    times: dict[int, int] = {}
    history = HistoryReader(run / "history.jsonl", 10, times)
    first = [window.time_ms for window in history.windows(0, flush=False)]
    os.utime(run / "history.jsonl", (1e9, 1e9))
    again = HistoryReader(run / "history.jsonl", 10, times)
    assert [window.time_ms for window in again.windows(0, flush=False)] == first
    assert first[1] - first[0] == pytest.approx(1250, abs=1)
    history.close()
    again.close()


def timed(step: int) -> str:
    """A step's line with its time: one a minute, far longer than its seconds."""
    return json.dumps(line(step) | {"time": 1.8e9 + 60 * step}) + "\n"


def test_a_steps_time_is_that_of_its_line(run):
    """A run that was copied: the file's last change says nothing."""
    (run / "history.jsonl").write_text("".join(map(timed, range(20))))
    history = HistoryReader(run / "history.jsonl", 10)
    windows = list(history.windows(0, flush=False))
    assert [window.time_ms for window in windows] == [1_800_000_540_000, 1_800_001_140_000]
    assert "train/time" not in windows[0].means()
    history.close()


@pytest.mark.parametrize("nonsense", [None, True, "noon", float("nan"), float("inf"), -1.0])
def test_lines_without_a_time_are_told_from_the_files_last_change(run, nonsense):
    """A run that an older version began, and lines whose time is none."""
    older = [json.dumps(line(step) | ({} if nonsense is None else {"time": nonsense})) + "\n" for step in range(10)]
    (run / "history.jsonl").write_text("".join([*older, *map(timed, range(10, 20))]))
    os.utime(run / "history.jsonl", (1.9e9, 1.9e9))
    history = HistoryReader(run / "history.jsonl", 10)
    first, second = (window.time_ms for window in history.windows(0, flush=False))
    assert first == pytest.approx(1.9e12 - 10 * 125, abs=1)
    assert second == 1_800_001_140_000
    history.close()


def test_no_history_yet(tmp_path):
    assert ends(HistoryReader(tmp_path / "history.jsonl", 10), rest=True) == []
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
