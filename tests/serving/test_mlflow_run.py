"""Each deployment and each benchmark is a run of MLflow; without MLflow, or with a slow one, serving feels nothing."""

import socket
import time
from pathlib import Path

import pytest

from focus_ray import __version__
from focus_ray.serving import mlflow_run
from focus_ray.serving.mlflow_run import EXPERIMENT, MlflowRunWriter, deployment_run
from focus_ray.serving.model_source import ModelSource
from focus_ray.serving.settings import BatchingSettings, HttpSettings, ServingSettings
from focus_ray.tracking.mlflow_client import MlflowServer
from focus_ray.tracking.mlflow_tracker import TrackingSettings
from tests.tracking.tracked_run import Database

HASH = "a" * 64
SETTINGS = ServingSettings(
    model="models:/focus@production",
    http=HttpSettings(keys=(f"alice:{HASH}", f"bob:{HASH}"), port=8123),
    batching=BatchingSettings(batch=3),
)
SOURCE = ModelSource("models:/focus/3", "d" * 64, "focus/3")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_run, "RETRY", (0.05, 0.2))


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_deployment_is_a_run_that_names_what_it_served(mlflow: Database, said: list[str]):
    names = {"version": "embedded-0123456789ab", "detector": "mesh (mediapipe 0.10.14)"}
    with deployment_run(SETTINGS, SOURCE, said.append, **names) as told:
        told.log_metrics({"requests": {"200": 41, "503": 1}, "note": "no number"})
        told.log_metrics({"requests": {"200": 80}}, step=1)
    assert said == []
    ((run, name, status),) = mlflow.runs()
    assert (name, status) == ("deployment focus/3", "FINISHED")
    assert mlflow.rows("select name from experiments where name = ?", EXPERIMENT) == [(EXPERIMENT,)]
    tags = mlflow.tags(run)
    assert tags["kind"] == "deployment"
    assert tags["model_version"] == "embedded-0123456789ab"
    assert tags["detector"] == "mesh (mediapipe 0.10.14)"
    assert tags["registered_model"] == "focus/3"
    assert tags["model_source"] == "models:/focus/3"
    assert tags["focus.version"] == __version__
    assert mlflow.curves(run) == {"requests/200": [(0, 41.0), (1, 80.0)], "requests/503": [(0, 1.0)]}
    parameters = mlflow.parameters(run)
    assert parameters["batching.batch"] == "3"
    assert parameters["http.port"] == "8123"
    assert parameters["model"] == "models:/focus@production"
    assert parameters["http.keys"] == "2"


def test_no_key_is_told(mlflow: Database, said: list[str]):
    with deployment_run(SETTINGS, SOURCE, said.append):
        pass
    everything = b"".join(path.read_bytes() for path in mlflow.path.parent.iterdir())
    assert b"models:/focus@production" in everything
    for secret in (HASH, "alice", "bob"):
        assert secret.encode() not in everything


def test_one_that_ends_with_an_error_was_killed(mlflow: Database, said: list[str]):
    with pytest.raises(KeyboardInterrupt), deployment_run(SETTINGS, ModelSource(None), said.append, kind="benchmark"):
        raise KeyboardInterrupt
    ((run, name, status),) = mlflow.runs()
    assert (name, status) == ("benchmark model", "KILLED")
    assert mlflow.tags(run)["kind"] == "benchmark"
    assert mlflow.tags(run)["model_source"] == "shipped"
    assert "registered_model" not in mlflow.tags(run)


def test_deployments_are_runs_of_their_own_and_unknown_to_each_other(mlflow: Database, said: list[str]):
    for _ in range(2):
        with deployment_run(SETTINGS, SOURCE, said.append):
            pass
    assert [status for _, _, status in mlflow.runs()] == ["FINISHED", "FINISHED"]


def test_serving_goes_on_without_a_tracker(said: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_run, "CLOSE_TIMEOUT", 0.3)
    tracking = TrackingSettings(uri=nowhere().replace("//", "//user:pa55word@"))
    began = time.monotonic()
    with deployment_run(SETTINGS, SOURCE, said.append, tracking=tracking) as told:
        for step in range(3000):
            told.log_metrics({"requests": step}, step)
        assert time.monotonic() - began < 5
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        assert len(said) == 1
    assert len(said) == 2
    assert "connection refused; serving continues, MLflow is retried" in said[0]
    assert said[1] == "MLflow did not respond in time; the end of this run was not logged"
    assert not any("pa55word" in line for line in said)


def test_a_silent_tracker_is_waited_for_a_moment_only(said: list[str]):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = MlflowServer(f"http://127.0.0.1:{silent.getsockname()[1]}")
        told = MlflowRunWriter(lambda: server, said.append)
        told.begin("one", {}, dict)
        began = time.monotonic()
        told.close("FINISHED", timeout=0.5)
        assert time.monotonic() - began < 3
    assert said[-1] == "MLflow did not respond in time; the end of this run was not logged"
    told._thread.join(60)


def test_a_tracker_that_comes_back_is_told_everything_once(
    mlflow: Database, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It refuses twice, then does what was asked and is not heard."""
    server = MlflowServer(f"sqlite:///{mlflow.path}", tmp_path / "artifacts")
    create, calls = server.create_run, []

    def unsteady(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise OSError("no route")
        create(*arguments)
        raise TimeoutError("done, but nobody hears it")

    monkeypatch.setattr(server, "create_run", unsteady)
    told = MlflowRunWriter(lambda: server, said.append)
    told.begin("one", {"a": "1"}, lambda: {"kind": "deployment"})
    told.log_metrics({"f": 1.0})
    told.close("FINISHED", timeout=60.0)
    assert len(said) == 1
    assert said[0].startswith("OSError: no route; serving continues")
    ((run, name, status),) = mlflow.runs()
    assert (name, status, len(calls)) == ("one", "FINISHED", 3)
    assert mlflow.curves(run) == {"f": [(0, 1.0)]}
    assert mlflow.parameters(run) == {"a": "1"}


def test_without_a_server_it_is_the_database_of_the_runs(
    tmp_path: Path, empty_database: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").write_bytes(empty_database.read_bytes())
    with deployment_run(SETTINGS, SOURCE, said.append):
        pass
    assert [status for *_, status in Database(tmp_path / "runs" / "mlflow.db").runs()] == ["FINISHED"]
    assert said == []
