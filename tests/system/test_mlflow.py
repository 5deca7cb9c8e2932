"""The tracker and a real MLflow server: a run through the server's death, and long outages as drills."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from focus_ray.tracking import mlflow_tracker
from focus_ray.tracking.mlflow_tracker import MlflowTracker, TrackingSettings, track
from tests.system.faulty_proxy import FaultyProxy
from tests.system.mlflow_server import MlflowServer
from tests.tracking.tracked_run import (
    Database,
    add_evaluation,
    add_sheet,
    add_steps,
    begin_run,
    end_run,
    expected_curve,
    write_run,
)


@pytest.fixture
def home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a server to come, and short waits for its clients."""
    monkeypatch.setattr(mlflow_tracker, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(mlflow_tracker, "RETRY_SECONDS", (0.5, 2.0))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "server.db")
    return folder


def check_run(server: MlflowServer, steps: int, name: str = "one", status: str = "FINISHED") -> str:
    """Everything of the run is in the server's database, once; returns MLflow's id of the run."""
    database = Database(server.database)
    found = [run for run, known, said in database.runs() if (known, said) == (name, status)]
    assert len(found) == 1, database.runs()
    curves = database.curves(found[0])
    for key in ("loss/total", "loss/em_face_term", "seconds"):
        points = curves.get(f"train/{key}", [])
        assert len(dict(points)) == len(points), key
        assert dict(points) == pytest.approx(expected_curve(key, steps)), key
    return found[0]


def train(run: Path, steps: range, *, pause: float) -> float:
    """Take steps as training does, and return the longest time that one took besides its pause, in s."""
    longest = 0.0
    for step in steps:
        began = time.monotonic()
        add_steps(run, [step])
        longest = max(longest, time.monotonic() - began)
        time.sleep(pause)
    return longest


def wait_until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_dies_and_comes_back_while_a_run_trains(home, tmp_path):
    run = begin_run(tmp_path / "runs" / "one")
    notes: list[str] = []
    with MlflowServer(home) as server:
        tracker = MlflowTracker(run, TrackingSettings(uri=server.url), notes.append)
        tracker.start()
        train(run, range(420), pause=0.002)
        wait_until(lambda: tracker._result.steps >= 400)
        server.kill()
        train(run, range(420, 650), pause=0.005)
        add_evaluation(run, 500)
        add_sheet(run, 500)
        wait_until(lambda: len(notes) == 1)
        server.start()
        wait_until(lambda: len(notes) == 2)
        train(run, range(650, 703), pause=0.002)
        end_run(run, 703)
        sent = tracker.close(finished=True, timeout=120.0)
        assert (sent.complete, sent.steps, sent.evaluations, sent.model) == (True, 703, 1, "1")
        check_run(server, 703)
    assert "training continues" in notes[0]
    assert "is reachable again" in notes[1]
    assert len(notes) == 2
    stored = {path.name for path in (home / "artifacts").rglob("*") if path.is_file()}
    assert {"report.html", "step-00000500.png", "encoder.safetensors", "mlflow_model.py", "MLmodel"} <= stored


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_an_outage_of_a_minute_is_not_felt(home, tmp_path, record_property):
    """The server is dead for 60 s in the middle of a run: no step takes longer, and nothing is missing after it."""
    run = begin_run(tmp_path / "runs" / "one")
    notes: list[str] = []
    with MlflowServer(home) as server:
        tracker = MlflowTracker(run, TrackingSettings(uri=server.url), notes.append)
        tracker.start()
        before = train(run, range(600), pause=0.02)
        wait_until(lambda: tracker._result.steps >= 500)
        server.kill()
        died = time.monotonic()
        during = train(run, range(600, 3600), pause=0.02)
        assert time.monotonic() - died > 60
        server.start()
        back = time.monotonic()
        wait_until(lambda: tracker._result.steps >= 3590)
        record_property("seconds_until_all_was_sent", round(time.monotonic() - back, 1))
        train(run, range(3600, 4003), pause=0.001)
        end_run(run, 4003)
        assert tracker.close(finished=True, timeout=120.0).complete
        check_run(server, 4003)
    assert len(notes) == 2
    record_property("longest_step_before_ms", round(1000 * before, 1))
    record_property("longest_step_during_outage_ms", round(1000 * during, 1))
    assert during < 1.0


@pytest.fixture
def faulty_server(home: Path) -> Iterator[tuple[MlflowServer, FaultyProxy]]:
    with MlflowServer(home) as server, FaultyProxy(server.url, seed=1) as proxy:
        yield server, proxy


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_a_server_that_is_slow_busy_and_loses_answers(faulty_server, tmp_path, monkeypatch, record_property):
    """Requests are refused, stall beyond the time limit, or are done without an answer: everything arrives once."""
    server, proxy = faulty_server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    run = begin_run(tmp_path / "runs" / "one")
    notes: list[str] = []
    proxy.faults.busy = proxy.faults.lost = proxy.faults.stalled = 0.12
    proxy.faults.stall_seconds = 6.0
    tracker = MlflowTracker(run, TrackingSettings(uri=proxy.url), notes.append)
    tracker.start()
    longest = train(run, range(2003), pause=0.05)
    add_evaluation(run, 1000)
    for step in (500, 1000, 1500, 2000):
        add_sheet(run, step)
    time.sleep(30)
    proxy.faults.busy = proxy.faults.lost = proxy.faults.stalled = 0.02
    end_run(run, 2003)
    sent = tracker.close(finished=True, timeout=180.0)
    assert sent.complete, sent.problem
    mlflow_run = check_run(server, 2003)
    assert len(Database(server.database).curves(mlflow_run)["eval/heldout/all/f1"]) == 1
    assert Database(server.database).rows("select count(*) from model_versions") == [(1,)]
    assert longest < 1.0
    for name, count in proxy.counts.items():
        record_property(name, count)
    assert len(notes) <= 2


FOLLOW = """
import sys, time
from pathlib import Path
from focus_ray.tracking import mlflow_tracker
from tests.tracking.tracked_run import add_steps
mlflow_tracker.POLL_SECONDS = 0.05
run, begin = Path(sys.argv[1]), int(sys.argv[2])
tracker = mlflow_tracker.MlflowTracker(run, mlflow_tracker.TrackingSettings(uri=sys.argv[3]))
tracker.start()
print("follows", flush=True)
for step in range(begin, 100_000):
    add_steps(run, [step])
    time.sleep(0.004)
"""


@pytest.mark.drill
@pytest.mark.timeout(1500)
def test_a_driver_that_is_killed_again_and_again_leaves_one_run(
    home, tmp_path, python, python_environment, record_property
):
    """kill -9 at random moments; each new driver trims the history to a checkpoint and takes the steps again."""
    rng = random.Random(0)
    run = begin_run(tmp_path / "runs" / "one")
    kills = 12
    with MlflowServer(home) as server:
        begin = 0
        for _ in range(kills):
            command = [python, "-c", FOLLOW, str(run), str(begin), server.url]
            driver = subprocess.Popen(command, env=python_environment, stdout=subprocess.PIPE, text=True)
            assert driver.stdout is not None
            assert driver.stdout.readline() == "follows\n"
            time.sleep(rng.uniform(6, 16))
            driver.kill()
            driver.communicate(timeout=30)
            lines = (run / "history.jsonl").read_text().splitlines(keepends=True)
            begin = max(len(lines) - 1 - rng.randrange(120), 0)
            (run / "trimmed").write_text("".join(lines[:begin]))
            os.replace(run / "trimmed", run / "history.jsonl")
        add_steps(run, range(begin, begin + 205))
        end_run(run, begin + 205)
        assert track(run, TrackingSettings(uri=server.url)).complete
        mlflow_run = check_points(server, begin + 205)
    record_property("kills", kills)
    record_property("steps", begin + 205)
    record_property("points", len(Database(server.database).curves(mlflow_run)["train/seconds"]))


def check_points(server: MlflowServer, steps: int) -> str:
    """One run; each point once, and those of whole windows where they belong."""
    ((mlflow_run, _, status),) = Database(server.database).runs()
    assert status == "FINISHED"
    points = Database(server.database).curves(mlflow_run)["train/loss/total"]
    assert len(dict(points)) == len(points)
    assert dict(points) == pytest.approx(expected_curve("loss/total", steps))
    return mlflow_run


TRACK = """
import sys
from pathlib import Path
from focus_ray.tracking.mlflow_tracker import TrackingSettings, track
for run in sys.argv[1:]:
    print(track(Path(run), TrackingSettings()).complete)
"""


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_processes_that_share_a_database_from_its_first_moment(
    tmp_path, python, python_environment, monkeypatch, record_property
):
    """Three processes find no database, make it, and write to it at once."""
    python_environment.pop("MLFLOW_TRACKING_URI", None)
    runs = [write_run(tmp_path / "runs" / f"run-{n}", 2003, run_id=f"{n:032x}") for n in range(6)]
    processes = [
        subprocess.Popen(
            [python, "-c", TRACK, *map(str, pair)],
            env=python_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pair in zip(runs[::2], runs[1::2], strict=True)
    ]
    said = [process.communicate(timeout=600) for process in processes]
    assert [out.split() for out, _ in said] == [["True", "True"]] * 3, said
    database = Database(tmp_path / "runs" / "mlflow.db")
    assert sorted(status for _, _, status in database.runs()) == ["FINISHED"] * 6
    assert sorted(row[0] for row in database.rows("select version from model_versions")) == [1, 2, 3, 4, 5, 6]
    for run, _, _ in database.runs():
        assert dict(database.curves(run)["train/seconds"]) == pytest.approx(expected_curve("seconds", 2003))


@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("direct", [False, True], ids=["through the server", "direct"])
def test_artifacts_in_s3(home, tmp_path, bucket, s3_url, python, python_environment, direct):
    """The model registered there loads and the files lie in the bucket."""
    run = write_run(tmp_path / "runs" / "one", 120)
    python_environment.update({name: value for name, value in os.environ.items() if name.startswith("AWS_")})
    with MlflowServer(home, f"{bucket}/mlflow", direct=direct) as server:
        assert track(run, TrackingSettings(uri=server.url), promote=True).model == "1"
        check_run(server, 120)
        load = "import mlflow; print(mlflow.pyfunc.load_model('models:/focus@production').metadata.model_id)"
        loaded = subprocess.run(
            [python, "-c", load],
            env=python_environment | {"MLFLOW_TRACKING_URI": server.url},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert loaded.stdout.startswith("m-"), loaded.stderr
    client = boto3.client("s3", endpoint_url=s3_url)
    listed = client.list_objects_v2(Bucket=bucket.removeprefix("s3://"), Prefix="mlflow/")["Contents"]
    client.close()
    names = {entry["Key"].rpartition("/")[2] for entry in listed}
    assert {"report.html", "step-00000120.png", "encoder.safetensors", "MLmodel"} <= names
