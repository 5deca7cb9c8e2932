"""The tracker: a run followed while it grows, through restarts, refusals and servers that are not there."""

import json
import logging
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from focus_ray.errors import TrackingError
from focus_ray.tracking import mlflow_tracker
from focus_ray.tracking.mlflow_client import MODEL_NAME
from focus_ray.tracking.mlflow_sync import PRODUCTION
from focus_ray.tracking.mlflow_tracker import MlflowTracker, TrackingSettings, track
from focus_ray.tracking.sync_state import sync_lock
from tests.tracking import tracked_run
from tests.tracking.tracked_run import Database, add_evaluation, add_sheet, add_steps, begin_run, end_run, write_run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_tracker, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(mlflow_tracker, "RETRY_SECONDS", (0.05, 0.2))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def steps_sent(run: Path) -> int:
    path = run / "tracking.json"
    return json.loads(path.read_text())["steps"] if path.is_file() else 0


def nowhere() -> str:
    """The address of a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def check_curves(database: Database, mlflow_run: str, steps: int) -> None:
    """Every point of the history's curves is there, once."""
    curves = database.curves(mlflow_run)
    for key in ("loss/total", "loss/warmup_term", "loss/em_seg_term", "mask_mean", "seconds"):
        points = curves.get(f"train/{key}", [])
        assert dict(points) == pytest.approx(tracked_run.expected_curve(key, steps)), key
        assert len(dict(points)) == len(points), key


def test_a_run_is_followed_to_its_end(tmp_path, database):
    run = begin_run(tmp_path / "runs" / "one")
    notes: list[str] = []
    tracker = MlflowTracker(run, TrackingSettings(), notes.append, tags={"cluster.workers": "2"})
    tracker.start()
    for begin in range(0, 600, 50):
        add_steps(run, range(begin, begin + 50))
        time.sleep(0.02)
    wait_until(lambda: steps_sent(run) == 600)
    ((mlflow_run, name, status),) = database.runs()
    assert (name, status) == ("one", "RUNNING")
    add_steps(run, range(600, 703))
    add_evaluation(run, 500)
    add_evaluation(run, 703)
    add_sheet(run, 500)
    end_run(run, 703)
    sent = tracker.close(finished=True)
    assert (sent.steps, sent.evaluations, sent.files, sent.model, sent.complete) == (703, 2, 4, "1", True)
    assert sent.mlflow_run == mlflow_run
    assert notes == []
    assert [row[2] for row in database.runs()] == ["FINISHED"]
    check_curves(database, mlflow_run, 703)
    curves = database.curves(mlflow_run)
    assert curves["eval/heldout/all/f1"] == [(500, 0.05), (703, 0.0703)]
    assert curves["heldout/focus/occluded/f1"] == [(703, 0.9)]
    assert curves["seconds/waiting for data"] == [(703, 1.5)]
    assert "heldout/focus/occluded/outlier_precision" not in curves
    assert "eval/heldout/all/vertex_mm" not in curves
    lost = sum(tracked_run.line(step)["skipped"] for step in range(703))
    assert max(value for _, value in curves["nonfinite_metrics"]) == lost + 2  # and the NaN of two evaluations
    artifacts = tmp_path / "runs" / "mlartifacts" / mlflow_run / "artifacts"
    files = sorted(path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file())
    assert files == ["config.json", "metrics.json", "report.html", "sheets/step-00000500.png"]


def test_parameters_and_tags(tmp_path, database):
    run = write_run(tmp_path / "runs" / "one", 20)
    sent = track(run, TrackingSettings())
    parameters = database.parameters(sent.mlflow_run)
    assert parameters["em.segmentation.eta_area"] == "0.5"
    assert parameters["face.world_modes"] == "[120, 80, 120]"
    assert parameters["start_from"] == "null"
    assert parameters["em.weights"] == "{}"
    assert parameters["note"] == "x" * 600
    assert parameters["long"] == "y" * 5997 + "..."
    tags = database.tags(sent.mlflow_run)
    assert tags["focus.run_id"] == tracked_run.RUN_ID
    assert tags["preset"] == "embedded"
    assert len(tags["digest.config"]) == 64
    assert "cpu" not in tags  # nobody knows where it was trained
    assert database.rows("select name from experiments where name = 'faces'") == [("faces",)]


def test_a_changed_configuration_and_other_workers_are_no_obstacle(tmp_path, database):
    run = write_run(tmp_path / "runs" / "one", 20)
    first = track(run, TrackingSettings())
    (run / "config.json").write_text(json.dumps(tracked_run.CONFIG | {"seed": 4, "new": 1}))
    tracker = MlflowTracker(run, TrackingSettings(), tags={"cluster.workers": "3"})
    tracker.start()
    again = tracker.close(finished=True)
    assert (again.complete, again.mlflow_run) == (True, first.mlflow_run)
    parameters = database.parameters(first.mlflow_run)
    assert (parameters["seed"], parameters["new"]) == ("3", "1")
    tags = database.tags(first.mlflow_run)
    assert tags["cluster.workers"] == "3"
    assert tags["python"]
    assert tags["cpu"]
    assert not any(os.uname().nodename in value or str(tmp_path) in value for value in tags.values())


def test_sending_again_sends_nothing_and_promotes(tmp_path, database):
    run = write_run(tmp_path / "runs" / "one", 120)
    first = track(run, TrackingSettings())
    end = database.rows("select end_time from runs")
    notes: list[str] = []
    again = track(run, TrackingSettings(), promote=True, note=notes.append)
    assert (again.steps, again.evaluations, again.files, again.model) == (0, 0, 0, first.model)
    assert notes == ["model focus version 1 is now production"]
    assert database.rows("select alias, name, version from registered_model_aliases") == [("production", "focus", 1)]
    assert database.rows("select count(*) from model_versions") == [(1,)]
    assert database.rows("select count(*) from logged_models") == [(1,)]
    assert database.rows("select end_time from runs") == end
    check_curves(database, first.mlflow_run, 120)


def test_a_run_goes_on_where_its_killed_driver_left_it(tmp_path, database):
    """The steps after the last checkpoint are taken again; MLflow has them already."""
    run = begin_run(tmp_path / "runs" / "one")
    killed = MlflowTracker(run, TrackingSettings())
    killed.start()
    add_steps(run, range(437))
    add_evaluation(run, 400)
    wait_until(lambda: steps_sent(run) == 430)
    killed._abandoned.set()  # what kill -9 does, as far as a thread can
    killed._closing.set()
    killed._thread.join(60)
    history = (run / "history.jsonl").read_text().splitlines(keepends=True)[:400]
    (run / "trimmed").write_text("".join(history))
    os.replace(run / "trimmed", run / "history.jsonl")
    tracker = MlflowTracker(run, TrackingSettings())
    tracker.start()
    add_steps(run, range(400, 703))
    end_run(run, 703)
    sent = tracker.close(finished=True)
    assert sent.complete
    ((mlflow_run, _, status),) = database.runs()
    assert status == "FINISHED"
    curve = database.curves(mlflow_run)["train/loss/total"]
    assert len({step for step, _ in curve}) == len(curve)
    assert {*tracked_run.expected_curve("loss/total", 703)} <= {step for step, _ in curve}
    assert database.curves(mlflow_run)["eval/heldout/all/f1"] == [(400, 0.04)]


def test_a_history_that_is_trimmed_while_it_is_followed(tmp_path, database):
    run = begin_run(tmp_path / "runs" / "one")
    add_steps(run, range(250))
    tracker = MlflowTracker(run, TrackingSettings())
    tracker.start()
    wait_until(lambda: steps_sent(run) == 250)
    kept = (run / "history.jsonl").read_text().splitlines(keepends=True)[:200]
    (run / "trimmed").write_text("".join(kept))
    os.replace(run / "trimmed", run / "history.jsonl")
    time.sleep(0.3)
    for begin in range(200, 330, 10):
        add_steps(run, range(begin, begin + 10))
        time.sleep(0.03)
    sent = tracker.close(finished=False)
    check_curves(database, sent.mlflow_run, 330)
    assert [row[2] for row in database.runs()] == ["KILLED"]


def test_the_server_knows_how_far_it_is_when_the_cursor_is_lost(tmp_path, database):
    run = write_run(tmp_path / "runs" / "one", 500)
    first = track(run, TrackingSettings())
    (run / "tracking.json").unlink()
    again = track(run, TrackingSettings())
    assert again.mlflow_run == first.mlflow_run
    assert (again.steps, again.evaluations, again.model) == (0, 0, "1")
    assert len(database.runs()) == 1
    check_curves(database, first.mlflow_run, 500)


@pytest.mark.parametrize("content", ["", "[]", '{"steps": "many"}', '{"mlflow_run": 7, "steps": 3}', "{"])
def test_a_damaged_cursor_is_no_obstacle(tmp_path, database, content):
    run = begin_run(tmp_path / "runs" / "one")
    add_steps(run, range(40))
    first = track(run, TrackingSettings())
    (run / "tracking.json").write_text(content)
    assert track(run, TrackingSettings()).mlflow_run == first.mlflow_run
    check_curves(database, first.mlflow_run, 40)


def test_a_database_that_lost_the_run_gets_all_of_it_again(tmp_path, database, empty_database):
    run = write_run(tmp_path / "runs" / "one", 100)
    track(run, TrackingSettings())
    again = track(run, TrackingSettings(uri=f"sqlite:///{tmp_path / 'other.db'}?timeout=60"))
    assert (again.steps, again.files, again.model) == (100, 4, "1")
    check_curves(Database(tmp_path / "other.db"), again.mlflow_run, 100)


def test_how_a_run_ended(tmp_path, database):
    ends = {}
    for number, (version, metrics) in enumerate([("a", True), (None, True), (None, False)]):
        run = begin_run(tmp_path / "runs" / f"run-{number}", run_id=f"{number:032x}")
        add_steps(run, range(10))
        if metrics:
            end_run(run, 10, version)
        track(run, TrackingSettings())
        ends[run.name] = version
    assert {name: status for _, name, status in database.runs()} == {
        "run-0": "FINISHED",
        "run-1": "FAILED",
        "run-2": "KILLED",
    }


def test_runs_in_one_folder_share_its_database(tmp_path, database):
    runs = [write_run(tmp_path / "runs" / name, 300, run_id=name * 32) for name in "abc"]
    trackers = [MlflowTracker(run, TrackingSettings()) for run in runs]
    for tracker in trackers:
        tracker.start()
    sent = [tracker.close(finished=True) for tracker in trackers]
    assert [one.problem for one in sent] == ["", "", ""]
    assert sorted(one.model for one in sent) == ["1", "2", "3"]
    for one in sent:
        check_curves(database, one.mlflow_run, 300)


def test_a_percent_sign_and_digits_in_the_path(tmp_path, database, empty_database):
    """Jenkins quotes the names of branches in its folders."""
    run = write_run(tmp_path / "a%20b c" / "a%20b c?#", 120)
    shutil.copyfile(empty_database, run.parent / "mlflow.db")
    sent = track(run, TrackingSettings(), promote=True)
    check_curves(Database(run.parent / "mlflow.db"), sent.mlflow_run, 120)
    server = TrackingSettings().server(run)
    place = server.location(MODEL_NAME, server.version_by_alias(MODEL_NAME, PRODUCTION))
    server.download(place, ["artifacts/model/manifest.json"], tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == (run / "model" / "manifest.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a%20b c", "manifest.json", "runs"]
    assert sorted(path.name for path in run.parent.iterdir()) == [run.name, "mlartifacts", "mlflow.db"]


def test_training_never_feels_that_there_is_no_server(tmp_path, database, caplog):
    run = begin_run(tmp_path / "runs" / "one")
    notes: list[str] = []
    tracker = MlflowTracker(run, TrackingSettings(uri=nowhere()), notes.append)
    began = time.monotonic()
    tracker.start()
    assert time.monotonic() - began < 0.1
    add_steps(run, range(95))
    wait_until(lambda: notes)
    time.sleep(1)
    assert len(notes) == 1
    assert "connection refused; training continues" in notes[0]
    end_run(run, 95)
    began = time.monotonic()
    sent = tracker.close(finished=True, timeout=1.0)
    assert time.monotonic() - began < 6
    assert not sent.complete
    assert "connection refused" in sent.problem
    assert len(notes) == 2
    assert notes[1].startswith("MLflow lacks 95 steps, 3 files and 1 model (")
    assert f"`focus-ray track {run}`" in notes[1]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    with pytest.raises(TrackingError, match="connection refused"):
        track(run, TrackingSettings(uri=nowhere()))
    later = track(run, TrackingSettings())
    assert (later.steps, later.model) == (95, "1")
    check_curves(database, later.mlflow_run, 95)
    assert "cpu" in database.tags(later.mlflow_run)  # kept with the run until somebody could be told


def test_a_server_that_takes_connections_and_says_nothing(tmp_path):
    run = begin_run(tmp_path / "run")
    add_steps(run, range(30))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        notes: list[str] = []
        tracker = MlflowTracker(run, TrackingSettings(uri=f"http://127.0.0.1:{silent.getsockname()[1]}"), notes.append)
        tracker.start()
        began = time.monotonic()
        sent = tracker.close(finished=False, timeout=0.5)
        assert time.monotonic() - began < 3
        assert not sent.complete
        tracker._thread.join(60)
    assert len(notes) == 1
    assert "MLflow lacks 30 steps and 1 file" in notes[0]


def test_a_server_that_comes_and_goes_is_spoken_of_once(tmp_path):
    notes: list[str] = []
    tracker = MlflowTracker(tmp_path, TrackingSettings(), notes.append)
    for _ in range(5):
        tracker._on_failure("MLflow at x: connection refused")
        tracker._on_failure("MLflow at x: timed out")
        tracker._on_success()
    assert len(notes) == 2
    assert notes[0].startswith("MLflow at x: connection refused; training continues")
    assert notes[1] == "MLflow is reachable again and has all data so far"


def test_only_one_process_sends_a_run(tmp_path, database, monkeypatch):
    monkeypatch.setattr("focus_ray.tracking.sync_state.LOCK_TIMEOUT", 0.2)
    run = begin_run(tmp_path / "runs" / "one")
    with sync_lock(run), pytest.raises(TrackingError, match="another process is sending"):
        track(run, TrackingSettings())
    assert track(run, TrackingSettings()).complete


def test_what_is_no_run_is_refused_in_words(tmp_path, database):
    with pytest.raises(TrackingError, match=r"give a folder of a run"):
        track(tmp_path / "nothing", TrackingSettings())
    (tmp_path / "runs" / "empty").mkdir()
    with pytest.raises(TrackingError, match=r"no run\.json"):
        track(tmp_path / "runs" / "empty", TrackingSettings())
    run = begin_run(tmp_path / "runs" / "one")
    with pytest.raises(TrackingError, match="no complete model to promote"):
        track(run, TrackingSettings(), promote=True)
    assert database.runs() == []


def test_no_secret_goes_anywhere(tmp_path, database, monkeypatch):
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "aws-5e3cr3t-key",
        "AWS_SESSION_TOKEN": "session-5e3cr3t",
        "MLFLOW_TRACKING_PASSWORD": "tracking-pa55word",
        "FOCUS_API_KEY": "api-5e3cr3t",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    run = write_run(tmp_path / "runs" / "one", 50)
    notes: list[str] = []
    for hidden in ("user:url-5e3cr3t@", "url-5e3cr3t@"):
        address = nowhere().replace("//", f"//{hidden}") + "/?token=query-5e3cr3t"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracker = MlflowTracker(run, TrackingSettings(), notes.append)
        tracker.start()
        before = len(notes)
        wait_until(lambda before=before: len(notes) > before)
        notes.append(tracker.close(finished=True, timeout=0.5).problem)
        tracker._thread.join(30)
    with pytest.raises(TrackingError) as refused:
        track(run, TrackingSettings(), note=notes.append)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracker = MlflowTracker(run, TrackingSettings(), notes.append)
    tracker.start()
    assert tracker.close(finished=True).complete
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(files) > 20
    said = "\n".join([*notes, str(refused.value)]).encode()
    for secret in (*secrets.values(), "5e3cr3t"):
        assert secret.encode() not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert b"127.0.0.1" in said
