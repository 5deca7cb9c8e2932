"""The driver of a run on a cluster: what it asks Ray for, what it leaves in the folder, how each end is told.

Ray Train is stood in for by this process (`one_worker`); the worker's own code runs.
"""

import json
import os
import pickle  # noqa: TID251  (how Ray sends an assignment to a worker)
import signal
import time
from pathlib import Path

import pytest
import torch

from focus_ray import errors
from focus_ray.errors import (
    CheckpointError,
    ClusterError,
    ConfigError,
    FocusRayError,
    Interrupted,
    MaskCollapse,
    StorageError,
)
from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.ray_cluster import ClusterSettings
from focus_ray.storage.checkpoint import Checkpoints, save_model
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.storage.object_store import LocalStore
from focus_ray.training import driver
from focus_ray.training.driver import TrainingDriver, build_torch_trainer
from focus_ray.training.event_queue import ENDED, FAILED
from focus_ray.training.prepare import RunRequest, prepare
from focus_ray.training.run import Trainer

pytestmark = pytest.mark.usefixtures("ellipsoid_world")


# --- what Ray is asked for


class Bucket(LocalStore):
    """A store whose file system is known."""

    def filesystem(self):
        return "the file system", "bucket/prefix/run"


@pytest.fixture
def prepared(config, tmp_path):
    prepared = prepare(RunRequest(config, tmp_path / "run"))
    yield prepared
    prepared.folder.close()


def asked(monkeypatch, prepared, tmp_path, **cluster):
    """The trainer and what its workers are told; nothing is started."""
    put = []
    monkeypatch.setattr("ray.put", lambda content: put.append(content) or "a reference")
    made = build_torch_trainer(prepared, Bucket(tmp_path), ClusterSettings(**cluster), None)
    assert made.train_loop_config == {"assignment": "a reference"}
    return made, put[0]


def test_eight_workers_with_a_gpu_each(monkeypatch, prepared, tmp_path):
    made, _ = asked(monkeypatch, prepared, tmp_path, workers=8, gpu=True, cpus_per_worker=6)
    assert made.scaling_config.num_workers == 8
    assert made.scaling_config.use_gpu is True
    assert made.scaling_config.resources_per_worker == {"CPU": 6, "GPU": 1}
    assert made.backend_config.backend == "nccl"
    run = made.run_config
    assert (run.name, run.storage_path, run.storage_filesystem) == ("run", "bucket/prefix", "the file system")
    assert run.failure_config.max_failures == 10
    assert run.checkpoint_config.num_to_keep is None  # which ones stay is the store's affair


def test_workers_on_processors(monkeypatch, prepared, tmp_path):
    made, _ = asked(monkeypatch, prepared, tmp_path, workers=2, max_failures=-1)
    assert made.scaling_config.num_workers == 2
    assert made.scaling_config.use_gpu is False
    assert made.scaling_config.resources_per_worker == {"CPU": 1}
    assert made.backend_config.backend == "gloo"
    assert made.run_config.failure_config.max_failures == -1


def test_what_a_worker_is_told_travels(monkeypatch, prepared, tmp_path):
    made, assignment = asked(monkeypatch, prepared, tmp_path, workers=2, cpus_per_worker=3)
    assert made.train_loop_per_worker.__name__ == "train_worker"
    assert pickle.loads(pickle.dumps(assignment)) == assignment
    assert assignment.config == prepared.config
    assert assignment.store == Bucket(tmp_path)
    assert assignment.threads == 3
    assert assignment.run_dir == str(tmp_path / "run")
    from focus_ray.training.worker import load_face_model

    assert load_face_model(assignment.face).digest == prepared.face.digest


def test_the_folder_is_its_own_store_unless_another_is_named(config, tmp_path):
    at_home = prepare(RunRequest(config, tmp_path / "run"))
    assert driver.checkpoint_store(at_home) == LocalStore(tmp_path / "run")
    assert not driver.is_remote(at_home, driver.checkpoint_store(at_home))
    away = prepare(RunRequest(config, tmp_path / "run", storage=str(tmp_path / "store")))
    assert driver.checkpoint_store(away) == LocalStore(tmp_path / "store" / "run")
    assert driver.is_remote(away, driver.checkpoint_store(away))


# --- how a run ends


@pytest.fixture
def driven(prepared, listener):
    prepared.acquire()
    return TrainingDriver(prepared, LocalStore(prepared.folder.path), ClusterSettings(), listener)


def figures(prepared, version: str | None) -> dict:
    """What a worker says at the end."""
    return {"schema": 1, "steps": 14, "model_version": version, "train_seconds": 3.0, "heldout": {}, "evaluations": []}


def test_a_good_end_is_written_down(driven, prepared):
    metrics = figures(prepared, "v1")
    driven._on_end(ENDED, (metrics,))
    assert driven._finish(None) == metrics
    assert json.loads((prepared.folder.path / "metrics.json").read_text()) == metrics
    assert "complete, 14 steps" in (prepared.folder.path / "report.html").read_text()


def test_the_model_of_a_store_is_brought_here(prepared, remote, listener, tmp_path):
    prepared.acquire()
    networks = {"encoder": {"w": torch.ones(2)}}
    save_model(tmp_path / "made", networks, {"version": "v1"})
    for path in (tmp_path / "made").iterdir():
        remote.upload(path, f"model/{path.name}")
    driven = TrainingDriver(prepared, remote, ClusterSettings(), listener)
    driven._on_end(ENDED, (figures(prepared, "v1"),))
    driven._finish(None)
    names = {path.name for path in prepared.folder.model_folder.iterdir()}
    assert names == {"encoder.safetensors", "model.json", "manifest.json"}


def test_a_guard_leaves_its_figures_and_no_model(prepared, remote, listener):
    prepared.acquire()
    driven = TrainingDriver(prepared, remote, ClusterSettings(), listener)
    driven._on_end(ENDED, (figures(prepared, None),))
    driven._on_end(FAILED, ("MaskCollapse", "step 6: all face; raise the area weight"))
    with pytest.raises(MaskCollapse, match="step 6: all face; raise the area weight"):
        driven._finish(None)
    assert json.loads((prepared.folder.path / "metrics.json").read_text())["model_version"] is None
    assert "ended by a guard" in (prepared.folder.path / "report.html").read_text()
    assert not prepared.folder.model_folder.exists()


def all_errors(kind=FocusRayError):
    return [kind, *(error for child in kind.__subclasses__() for error in all_errors(child))]


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == errors.__name__])
def test_the_errors_of_workers_keep_their_type(driven, prepared, kind):
    driven._on_end(FAILED, (kind.__name__, "what is wrong; what to do"))
    with pytest.raises(kind) as caught:
        driven._finish(RuntimeError("what Ray says of it"))
    assert type(caught.value) is kind
    assert str(caught.value) == "what is wrong; what to do"
    assert (prepared.folder.path / "report.html").is_file()
    assert not (prepared.folder.path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "workers exited without reporting a result"), (RuntimeError("out of\n memory"), "out of memory")],
)
def test_an_end_without_a_word_says_how_to_go_on(driven, prepared, error, reason):
    with pytest.raises(ClusterError) as caught:
        driven._finish(error)
    message = str(caught.value)
    assert message.startswith(f"training ended on the cluster: {reason}; checkpoints are kept")
    assert message.endswith(f"resume {prepared.folder.path} to continue")


def test_a_long_story_of_rays_is_cut_to_its_end(driven):
    with pytest.raises(ClusterError) as caught:
        driven._finish(RuntimeError("frame " * 500 + "disk full"))
    assert "disk full; checkpoints are kept" in str(caught.value)
    assert len(str(caught.value)) < 600


# --- whole runs


def train(config, out, **options):
    return driver.train(config, out, ClusterSettings(), **options)


def same(one: dict, other: dict) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_on_a_cluster_is_the_run_in_one_process(config, tmp_path, one_worker, listener, weights, straight_run):
    here = json.loads((straight_run / "metrics.json").read_text())
    there = train(config, tmp_path / "there", callback=listener)
    assert same(weights(straight_run), weights(tmp_path / "there"))
    assert there["heldout"] == here["heldout"]
    assert there["model_version"] == here["model_version"]
    run = tmp_path / "there"
    for name in ("history.jsonl", "evaluations.jsonl"):
        took = ("seconds", "data_seconds", "images_per_s", "time")
        alike = [
            [{key: value for key, value in line.items() if key not in took} for line in read_json_lines(folder / name)]
            for folder in (straight_run, run)
        ]
        assert alike[0] == alike[1]
    drawn = [{path.name: path.read_bytes() for path in folder.glob("sheets/*")} for folder in (straight_run, run)]
    assert drawn[0] == drawn[1]
    assert json.loads((run / "metrics.json").read_text()) == json.loads(json.dumps(there))
    # Where the machine is slow, a checkpoint that is still pending is dropped for a better one.
    assert Checkpoints(run / "checkpoints").steps()[-1] == Checkpoints(straight_run / "checkpoints").steps()[-1]
    assert {2, 14} <= set(listener.of("on_save")) <= set(range(2, 15, 2))
    assert [metrics["step"] for metrics, _ in one_worker.reports.told] == list(range(2, 15, 2))
    log = [line for line in read_json_lines(run / "log.jsonl") if line["rank"] == 0]
    assert [line["step"] for line in log if line["message"].startswith("phase em_seg begins")] == [7, 11]
    ((tracker,), tracked) = one_worker.trackers, one_worker.tracked
    assert (tracker.run, tracker.tracking.experiment, tracker.finished) == (run, "focus", True)
    assert tracker.tags == {"cluster.workers": "1", "cluster.gpu": "false"}
    assert tracked == []


def test_a_run_with_a_store_leaves_everything_there_and_the_model_here(config, tmp_path, one_worker, weights):
    store = tmp_path / "store"
    train(config, tmp_path / "run", storage=str(store), experiment="faces", promote=True)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert Checkpoints(store / "run" / "checkpoints").steps()[-1] == 14
    assert same(weights(tmp_path / "run"), weights(store / "run"))
    mirrored = ("config.json", "run.json", "metrics.json", "report.html", "history.jsonl", "evaluations.jsonl")
    for name in (*mirrored, "log.jsonl", "face.safetensors", "sheets/step-00000014.png"):
        assert (store / "run" / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name
    ((run, tracking, options),) = one_worker.tracked
    assert (run, tracking.experiment, options["promote"]) == (tmp_path / "run", "faces", True)


class StopOnceAsked:
    """A worker that does not go on before it has heard of the wish to stop, and somebody who has it after a step."""

    def __init__(self, monkeypatch, at: int):
        def keep(run: Trainer, record) -> None:
            kept(run, record)
            deadline = time.monotonic() + 60
            while record.step == at and not run.should_stop():
                assert time.monotonic() < deadline
                time.sleep(0.005)

        kept = Trainer.after_step
        monkeypatch.setattr(Trainer, "after_step", keep)

        class Watching(Callback):
            def on_step_end(self, record) -> None:
                if record.step == at:
                    os.kill(os.getpid(), signal.SIGINT)

        self.callback = Watching()


def test_ctrl_c_stops_after_a_step_and_the_run_goes_on_to_the_same_end(
    config, tmp_path, one_worker, weights, straight_run, monkeypatch
):
    with monkeypatch.context() as patch:
        stopping = StopOnceAsked(patch, at=7)
        with pytest.raises(Interrupted, match=r"stopped after step 7, a checkpoint is written; resume"):
            train(config, tmp_path / "cut", callback=stopping.callback)
    assert Checkpoints(tmp_path / "cut" / "checkpoints").steps()[-1] == 8
    assert "not finished: 8 steps so far" in (tmp_path / "cut" / "report.html").read_text()
    train(None, tmp_path / "cut")
    assert same(weights(straight_run), weights(tmp_path / "cut"))
    assert [tracker.finished for tracker in one_worker.trackers] == [False, True]


def lost_at(monkeypatch, step: int) -> None:
    """The workers are gone after a step, before anything of it is kept."""
    kept = Trainer.after_step

    def keep(run: Trainer, record) -> None:
        if record.step == step:
            raise RuntimeError("the node went away")
        kept(run, record)

    monkeypatch.setattr(Trainer, "after_step", keep)


def test_lost_workers_lose_no_more_than_the_steps_since_the_checkpoint(
    config, tmp_path, one_worker, weights, straight_run, monkeypatch
):
    with monkeypatch.context() as patch:
        lost_at(patch, 9)
        with pytest.raises(ClusterError, match=r"the node went away; checkpoints are kept, resume"):
            train(config, tmp_path / "cut")
    train(None, tmp_path / "cut")
    assert same(weights(straight_run), weights(tmp_path / "cut"))
    assert [line["step"] for line in read_json_lines(tmp_path / "cut" / "history.jsonl")] == list(range(14))


def test_the_last_words_are_heard_however_late_they_come(config, tmp_path, one_worker, monkeypatch):
    """The driver looks once more when the workers have ended; it was busy with something else until then."""
    monkeypatch.setattr(driver._Thread, "is_alive", lambda thread: False)
    assert train(config, tmp_path / "run")["steps"] == 14


def test_a_guards_word_is_told_by_the_driver(config, tmp_path, one_worker):
    strict = config.guard.model_copy(update={"low": 0.0, "high": 0.001, "window": 1, "action": "stop"})
    with pytest.raises(MaskCollapse):
        train(config.model_copy(update={"guard": strict}), tmp_path / "run", promote=True)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["guard_events"][0]["kind"] == "all_face"
    assert one_worker.trackers[0].finished is False
    assert one_worker.tracked == []


def test_what_a_run_waits_for_is_told(config, tmp_path, one_worker, listener, monkeypatch):
    monkeypatch.setattr(driver, "missing_resources", lambda settings: f"waiting for {settings.cpus_per_worker} core")
    train(config, tmp_path / "run", callback=listener)
    assert listener.of("on_message")[0] == "waiting for 1 core"


def test_a_checkpoint_that_does_not_fit_is_told_by_the_driver(config, tmp_path, one_worker, monkeypatch):
    with monkeypatch.context() as patch:
        lost_at(patch, 3)
        with pytest.raises(ClusterError):
            train(config, tmp_path / "run")
    tree = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(tree | {"seed": 7}))
    with pytest.raises(CheckpointError, match="another configuration"):
        train(None, tmp_path / "run")


def test_a_damaged_checkpoint_is_told_and_passed_over(
    config, tmp_path, one_worker, listener, weights, straight_run, monkeypatch
):
    with monkeypatch.context() as patch:
        lost_at(patch, 9)
        with pytest.raises(ClusterError):
            train(config, tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "step-00000008" / "state.json").write_text("{}")
    train(None, tmp_path / "cut", callback=listener)
    assert any(note.startswith("checkpoint of step 8 is skipped") for note in listener.of("on_message"))
    assert same(weights(straight_run), weights(tmp_path / "cut"))


def test_what_cannot_begin_leaves_nothing_behind(config, tmp_path, one_worker):
    perceptual = config.model.perceptual.model_copy(update={"kind": "arcface"})
    paper = config.model.model_copy(update={"perceptual": perceptual})
    with pytest.raises(ConfigError, match="ArcFace"):
        train(config.model_copy(update={"model": paper}), tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        train(config, tmp_path / "run", storage=str(tmp_path / "file"))
    assert not (tmp_path / "run").exists()
    assert one_worker.trainers == one_worker.trackers == []


def test_a_run_that_another_process_trains_is_not_resumed(config, tmp_path, one_worker):
    other = prepare(RunRequest(config, tmp_path / "run"))
    other.acquire()
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    with pytest.raises(ConfigError, match="another process"):
        train(None, tmp_path / "run")
    assert sorted(path.name for path in Path(tmp_path / "run").iterdir()) == before
    other.folder.close()
