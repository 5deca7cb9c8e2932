"""A delivery through faults: whatever is lost, late or answered by nobody, MLflow ends up with everything once."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from focus_ray.errors import TrackingError
from focus_ray.tracking.mlflow_client import MlflowServer
from focus_ray.tracking.mlflow_sync import MlflowSync, SyncResult, describe_unsent, status_of
from focus_ray.tracking.mlflow_tracker import TrackingSettings, track
from tests.tracking.tracked_run import Database, begin_run, expected_curve, write_run

CALLS = ("find_run", "create_run", "set_parameters", "log", "upload", "set_running", "end_run", "register")


class Unreliable(MlflowServer):
    """A server whose calls fail now and then: before anything happens, after it happened, or while it still will."""

    def __init__(self, uri: str, seed: int, artifacts: Path) -> None:
        super().__init__(uri, artifacts)
        self.random = random.Random(seed)
        self.late: list[Callable[[], Any]] = []
        self.faults: list[str] = []

    def reliable(self) -> None:
        self.random = random.Random()
        self.random.choices = lambda *_, **__: ["fine"]  # type: ignore[method-assign]


def unreliable(name: str) -> Callable[..., Any]:
    plain = getattr(MlflowServer, name)

    def call(self: Unreliable, *args: Any, **kwargs: Any) -> Any:
        for late in self.late:
            late()
        self.late = []
        fate = self.random.choices(["fine", "before", "after", "late"], [6, 1, 1, 1])[0]
        if fate != "fine":
            self.faults.append(f"{name} {fate}")
        if fate == "late" and name != "find_run":
            self.late.append(lambda: plain(self, *args, **kwargs))
        if fate in ("before", "late"):
            raise TrackingError("timed out")
        answer = plain(self, *args, **kwargs)
        if fate == "after":
            raise TrackingError("timed out")
        return answer

    return call


for _name in CALLS:
    setattr(Unreliable, _name, unreliable(_name))


def attempt(run: Path, server: MlflowServer, sent: SyncResult) -> bool:
    sync = MlflowSync(run, server, None, sent)
    try:
        sync.begin({"python": "3"}, {}, running=True)
        sync.send(flush=False)
        sync.send(flush=True)
        sync.end("FINISHED")
    except TrackingError:
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_everything_arrives_once_through_faults_of_every_call(tmp_path, database, seed):
    run = write_run(tmp_path / "runs" / "one", 1200)
    server = Unreliable(f"sqlite:///{database.path}", seed, tmp_path / "artifacts")
    sent = SyncResult()
    attempts = 1
    while not attempt(run, server, sent):
        attempts += 1
        assert attempts < 200
        if attempts == 40:
            server.reliable()
    server.reliable()
    assert attempt(run, server, sent)
    assert len(server.faults) > 2
    ((mlflow_run, _, status),) = database.runs()
    assert status == "FINISHED"
    check(database, mlflow_run, 1200)
    assert database.rows("select count(*) from model_versions") == [(1,)]


def check(database: Database, mlflow_run: str, steps: int) -> None:
    curves = database.curves(mlflow_run)
    for key, points in curves.items():
        if key != "nonfinite_metrics":  # counts on at a step that has both a window and an evaluation
            assert len(dict(points)) == len(points), f"{key} has a step twice"
    assert curves["nonfinite_metrics"] == sorted({*curves["nonfinite_metrics"]})
    for key in ("loss/total", "loss/em_face_term", "mask_mean"):
        assert dict(curves[f"train/{key}"]) == pytest.approx(expected_curve(key, steps))
    assert [step for step, _ in curves["eval/heldout/all/f1"]] == [500, 1000, 1200]


def test_times_end_with_the_files_last_change(tmp_path, database):
    run = write_run(tmp_path / "runs" / "one", 400, timed=False)
    sent = track(run, TrackingSettings())
    rows = database.rows(
        "select step, timestamp from metrics where run_uuid = ? and key = 'train/seconds' order by step",
        sent.mlflow_run,
    )
    changed = (run / "history.jsonl").stat().st_mtime * 1000
    assert rows[-1][1] == pytest.approx(changed, abs=2)
    for (step, time_ms), (later, later_ms) in itertools.pairwise(rows):
        assert later_ms - time_ms == pytest.approx(125 * (later - step), abs=1)
    assert database.rows("select start_time from runs") == [(1795168800000,)]  # created, of run.json


def test_what_waits_is_counted(tmp_path, database):
    run = begin_run(tmp_path / "runs" / "one")
    track(run, TrackingSettings())
    assert describe_unsent(run) == ""
    done = write_run(tmp_path / "runs" / "two", 700, run_id="2" * 32)
    assert describe_unsent(done) == "700 steps, 2 evaluations, 5 files and 1 model"
    track(done, TrackingSettings())
    assert describe_unsent(done) == ""
    assert status_of(done) == "FINISHED"


def test_an_evaluation_is_finished_when_it_has_its_rows(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    assert status_of(tmp_path) == "FAILED"  # as a training that a guard ended
    (tmp_path / "results.json").write_text('{"rows": []}')
    assert status_of(tmp_path) == "FINISHED"
