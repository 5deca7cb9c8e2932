"""What a run tells is written down: history, evaluations and log line by line, pictures whole."""

import json

import pytest

from focus_ray.runtime.callbacks import ResumeHistory
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.training.recorder import Recorder


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path)
    yield folder
    folder.close()


def steps_in(folder: RunFolder) -> list[int]:
    return [line["step"] for line in read_json_lines(folder.path / "history.jsonl")]


def test_each_step_is_a_line_at_once(folder, record_of):
    recorder = Recorder(folder)
    recorder.on_train_begin(20, 0, ResumeHistory())
    for step in range(3):
        recorder.on_step_end(record_of(step))
        assert steps_in(folder) == list(range(step + 1))
    assert read_json_lines(folder.path / "history.jsonl")[2] == record_of(2).line()


def test_a_run_that_begins_again_forgets_the_steps_that_it_will_take_again(folder, record_of):
    recorder = Recorder(folder)
    recorder.on_train_begin(20, 0, ResumeHistory())
    for step in range(9):
        recorder.on_step_end(record_of(step))
    recorder.on_train_begin(20, 5, ResumeHistory(recent=[record_of(step).line() for step in (3, 4)]))
    assert steps_in(folder) == [0, 1, 2, 3, 4]
    recorder.on_step_end(record_of(5))
    assert steps_in(folder) == [0, 1, 2, 3, 4, 5]


def test_steps_that_never_arrived_come_from_the_checkpoint(folder, record_of):
    """The worker was lost with steps 3 to 5 on their way, after the checkpoint of step 6 was whole."""
    recorder = Recorder(folder)
    recorder.on_train_begin(20, 0, ResumeHistory())
    for step in range(3):
        recorder.on_step_end(record_of(step))
    recorder.on_train_begin(20, 6, ResumeHistory(recent=[record_of(step).line() for step in (2, 3, 4, 5)]))
    assert read_json_lines(folder.path / "history.jsonl") == [record_of(step).line() for step in range(6)]


def test_what_is_known_of_a_step_is_not_told_anew(folder, record_of):
    """Seconds differ between two attempts; the line that was there stays, MLflow may have it already."""
    (folder.path / "history.jsonl").write_text(json.dumps(record_of(0).line() | {"seconds": 9.0}) + "\n")
    Recorder(folder).on_train_begin(20, 1, ResumeHistory(recent=[record_of(0).line()]))
    assert read_json_lines(folder.path / "history.jsonl")[0]["seconds"] == 9.0


def test_a_torn_line_is_gone_when_the_run_goes_on(folder, record_of):
    whole = json.dumps(record_of(0).line())
    (folder.path / "history.jsonl").write_text(f"{whole}\n{whole[:20]}")
    recorder = Recorder(folder)
    recorder.on_train_begin(20, 1, ResumeHistory())
    recorder.on_step_end(record_of(1))
    assert steps_in(folder) == [0, 1]


def test_evaluations_are_those_of_the_checkpoint_and_what_comes_after(folder):
    recorder = Recorder(folder)
    entries = [{"step": step, "after": "em_seg", "heldout": {"all": {"f1": None}}} for step in (2, 4, 6)]
    recorder.on_train_begin(20, 0, ResumeHistory())
    assert (folder.path / "evaluations.jsonl").read_bytes() == b""
    for entry in entries:
        recorder.on_evaluate(entry)
    recorder.on_train_begin(20, 4, ResumeHistory(evaluations=entries[:2]))
    assert read_json_lines(folder.path / "evaluations.jsonl") == entries[:2]
    recorder.on_evaluate(entries[2])
    assert read_json_lines(folder.path / "evaluations.jsonl") == entries


def test_sheets_are_files_and_a_later_one_of_the_same_step_takes_the_place(folder):
    recorder = Recorder(folder)
    recorder.on_image("step-00000007.png", b"first")
    recorder.on_image("step-00000007.png", b"again")
    assert {path.name: path.read_bytes() for path in folder.sheets_folder.iterdir()} == {"step-00000007.png": b"again"}


def test_log_lines_outlive_a_new_beginning(folder):
    recorder = Recorder(folder)
    lines = [{"level": "info", "rank": rank, "message": "phase init begins"} for rank in (-1, 0)]
    recorder.on_log(lines[0])
    recorder.on_train_begin(20, 0, ResumeHistory())
    recorder.on_log(lines[1])
    assert read_json_lines(folder.path / "log.jsonl") == lines
