"""Checkpoints brought to the store by a process of their own; the actor here is an object of this one."""

from types import SimpleNamespace

import pytest
import ray
import torch
from ray.exceptions import ActorDiedError

from focus_ray.errors import StorageError
from focus_ray.focus.replica_group import SINGLE_PROCESS
from focus_ray.storage import checkpoint
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.training.ray_checkpoint_sink import CHECKPOINTS, RayCheckpointSink
from focus_ray.training.uploader import CheckpointUploader, _UploaderActor

CPU = torch.device("cpu")


def tree(step: int) -> dict:
    return {"step": step, "encoder": {"w": torch.full((2,), float(step))}}


@pytest.fixture
def checkpoints(remote) -> Checkpoints:
    return Checkpoints(remote.at(CHECKPOINTS), keep=2)


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """With what options actors were made: here, at once, and not to be nicer than the tests are."""
    options: list[dict] = []

    class Actor:
        def __init__(self, *arguments):
            *first, _ = arguments
            actor = _UploaderActor(*first, 0)
            self.add = SimpleNamespace(remote=actor.add)

    def remote(kind):
        assert kind is _UploaderActor
        return SimpleNamespace(options=lambda **given: options.append(given) or SimpleNamespace(remote=Actor))

    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "ab" * 28))
    return options


@pytest.fixture
def uploader(channel, checkpoints, asked) -> CheckpointUploader:
    return CheckpointUploader(checkpoints, channel)


def test_the_process_stays_on_the_node_whose_files_it_reads_and_takes_no_core(uploader, asked):
    (options,) = asked
    assert options["scheduling_strategy"].node_id == "ab" * 28
    assert not options["scheduling_strategy"].soft
    assert options["num_cpus"] == 0
    assert options["max_restarts"] == -1


def test_a_vault_writes_through_it(uploader, remote, checkpoints, listener, reports):
    sink = RayCheckpointSink(remote, 2, SINGLE_PROCESS, listener, CPU, uploader)
    for step in (1, 2, 3):
        sink.save(step, tree(step), best=step == 1, last=step == 3)
    assert checkpoints.steps() == [1, 2, 3]  # the best, and the newest two
    stored = checkpoints.latest()
    assert stored is not None
    assert torch.equal(stored.state["encoder"]["w"], torch.full((2,), 3.0))
    assert sorted(listener.of("on_save")) == [1, 2, 3]  # the newest first, where several wait


def test_a_store_that_refuses_is_told_as_ever(uploader, remote, checkpoints, listener, reports):
    sink = RayCheckpointSink(remote, 2, SINGLE_PROCESS, listener, CPU, uploader)
    remote.ill = True
    sink.save(1, tree(1), best=False, last=True)
    (note,) = listener.of("on_message")
    assert note.startswith("checkpoint of step 1 is lost: s3://bucket/")
    assert "does not answer" in note
    assert checkpoints.steps() == []


def test_a_process_that_dies_costs_a_checkpoint(uploader, tmp_path):
    def died(*_):
        raise ActorDiedError

    uploader._actor = SimpleNamespace(add=SimpleNamespace(remote=died))
    with pytest.raises(StorageError, match="the upload process ended"):
        uploader.add(1, tmp_path, best=False)


def test_what_is_logged_on_the_way_reaches_the_runs_log(uploader, remote, channel, checkpoints, tmp_path, monkeypatch):
    folder = tmp_path / "step"
    checkpoint.save(folder, tree(7))
    honest = Checkpoints.add

    def add(self, step, folder, *, best):
        checkpoint.logger.warning("trying again")
        honest(self, step, folder, best=best)

    monkeypatch.setattr(Checkpoints, "add", add)
    uploader.add(7, folder, best=False)
    ((what, (entry,)),) = channel.take.remote(1.0).result(10)
    assert what == "on_log"
    assert (entry["message"], entry["step"], entry["rank"]) == ("trying again", 7, 0)
