"""Checkpoints under Ray Train: in the background, reported when they are whole; a store that is ill costs no run."""

import threading

import pytest
import torch

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.storage.checkpoint import Checkpoints, folder_name
from focus_ray.training import ray_checkpoint_sink
from focus_ray.training.ray_checkpoint_sink import MAX_CONSECUTIVE_FAILURES, RayCheckpointSink, copy_to_cpu
from focus_ray.training.upload_queue import tensor_bytes

CPU = torch.device("cpu")


def tree(step: int) -> dict:
    return {"step": step, "encoder": {"w": torch.full((2,), float(step))}}


@pytest.fixture
def sink(remote, listener, reports) -> RayCheckpointSink:
    """The sink of a run by itself, that keeps the newest two."""
    return RayCheckpointSink(remote, 2, SINGLE_PROCESS, listener, CPU)


class Follower(ReplicaGroup):
    """The second of two replicas; what the first one says is given."""

    def __init__(self, leading: int = -1, says: bool = False):
        super().__init__(1, 2)
        self.leading, self.says = leading, says

    def all_reduce_any(self, flag, device="cpu"):
        return flag or self.says

    def all_gather(self, values):
        return torch.cat((torch.tensor([self.leading]), values))


def settled(sink: RayCheckpointSink) -> Checkpoints:
    """What lies in the store once nothing is on its way."""
    sink.wait()
    return Checkpoints(sink.store.at("checkpoints"))


# --- a copy of the state


def test_a_copy_shares_nothing_that_training_changes():
    weight = torch.nn.Parameter(torch.ones(2))
    state = {"a": [weight, (torch.zeros(1), 3)], "b": {"c": None, "d": "text", "e": weight.detach()}}
    copy = copy_to_cpu(state)
    with torch.no_grad():
        weight.fill_(7.0)
        state["a"][1][0].fill_(7.0)
    assert isinstance(copy["a"], list)
    assert isinstance(copy["a"][1], tuple)
    assert torch.equal(copy["a"][0], torch.ones(2))
    assert torch.equal(copy["a"][1][0], torch.zeros(1))
    assert torch.equal(copy["b"]["e"], torch.ones(2))
    assert not copy["a"][0].requires_grad
    assert (copy["a"][1][1], copy["b"]["c"], copy["b"]["d"]) == (3, None, "text")


# --- saving


def test_a_checkpoint_is_reported_and_lies_in_the_store(sink, remote, listener, reports):
    sink.save(250, tree(250), best=True, last=False)
    stored = settled(sink).latest()
    assert stored is not None
    assert stored.step == 250
    assert torch.equal(stored.state["encoder"]["w"], torch.full((2,), 250.0))
    ((metrics, checkpoint),) = reports.told
    assert metrics == {"step": 250}
    filesystem, root = remote.filesystem()
    assert checkpoint.path == f"{root}/checkpoints/step-00000250"
    assert checkpoint.filesystem == filesystem
    assert reports.settle() == [checkpoint]  # what Ray is given back is what was announced
    assert listener.heard == [("on_save", (250,))]
    assert settled(sink).best().step == 250


def test_training_goes_on_and_changes_nothing_that_is_on_its_way(sink, remote, reports):
    remote.open.clear()
    state = tree(1)
    sink.save(1, state, best=False, last=False)
    state["encoder"]["w"].fill_(99.0)
    state["step"] = 99
    remote.open.set()
    stored = settled(sink).load(1)
    assert torch.equal(stored.state["encoder"]["w"], torch.ones(2))
    assert stored.state["step"] == 1


def test_the_last_one_is_waited_for(sink, remote, reports):
    remote.open.clear()
    opener = threading.Timer(0.2, remote.open.set)
    opener.start()
    sink.save(14, tree(14), best=False, last=True)
    assert Checkpoints(sink.store.at("checkpoints")).steps() == [14]
    opener.join()


def test_the_store_does_not_wait_for_ray(sink, reports):
    """Ray takes note of one checkpoint each time that its controller asks, however many are made meanwhile."""
    reports.open.clear()
    for step in (1, 2, 3):
        sink.save(step, tree(step), best=False, last=False)
    assert settled(sink).steps() == [2, 3]  # the newest two
    assert sink.last_saved_step == 3
    reports.open.set()
    assert len(reports.settle()) == 3


def test_old_ones_go_and_the_best_stays(sink):
    for step in range(1, 6):
        sink.save(step, tree(step), best=step == 2, last=step == 5)
    assert settled(sink).steps() == [2, 4, 5]


def test_a_follower_reports_and_writes_nothing(remote, listener, reports):
    sink = RayCheckpointSink(remote, 2, Follower(), listener, CPU)
    sink.save(250, tree(250), best=True, last=True)
    assert reports.told == [({"step": 250}, None)]
    assert remote.list() == []
    assert listener.heard == []


def test_memory_is_finite_and_the_newest_are_kept(remote, listener, reports, monkeypatch):
    monkeypatch.setattr(ray_checkpoint_sink, "MAX_PENDING_BYTES", 3 * tensor_bytes(tree(1)))
    sink = RayCheckpointSink(remote, 2, SINGLE_PROCESS, listener, CPU)
    remote.open.clear()
    steps = range(1, 7)
    for step in steps:
        sink.save(step, tree(step), best=False, last=False)
    assert len(listener.of("on_message")) in (2, 3)  # whether the first is being written already
    assert all("is dropped for that of step" in note for note in listener.of("on_message"))
    assert len(reports.told) == len(steps)  # Ray counts reports: all replicas make the same ones
    opener = threading.Timer(0.1, remote.open.set)
    opener.start()
    sink.save(99, tree(99), best=False, last=True)
    opener.join()
    assert settled(sink).steps() == [steps[-1], 99]


# --- a store that refuses


def test_a_store_that_refuses_costs_a_checkpoint_and_not_the_run(sink, remote, listener):
    sink.save(1, tree(1), best=False, last=True)
    remote.ill = True
    sink.save(2, tree(2), best=False, last=True)
    remote.ill = False
    sink.save(3, tree(3), best=False, last=True)
    assert settled(sink).steps() == [1, 3]
    assert listener.of("on_save") == [1, 3]
    (note,) = listener.of("on_message")
    assert note.startswith("checkpoint of step 2 is lost: ")
    assert "does not answer" in note


def test_several_lost_in_a_row_end_the_run(sink, remote, listener):
    remote.ill = True
    for step in range(1, MAX_CONSECUTIVE_FAILURES + 1):
        sink.save(step, tree(step), best=False, last=True)
    with pytest.raises(
        StorageError, match=r"3 checkpoints in a row could not be written to s3://bucket/.*; fix the store"
    ):
        sink.save(9, tree(9), best=False, last=True)
    assert len(listener.of("on_message")) == MAX_CONSECUTIVE_FAILURES


def test_one_that_is_written_ends_a_row(sink, remote):
    for step in range(1, 8):
        remote.ill = step % MAX_CONSECUTIVE_FAILURES != 0
        sink.save(step, tree(step), best=False, last=True)
    assert settled(sink).steps() == [3, 6]


def test_a_follower_ends_where_the_leader_does(remote, listener, reports):
    sink = RayCheckpointSink(remote, 2, Follower(says=True), listener, CPU)
    with pytest.raises(StorageError, match="in a row"):
        sink.save(9, tree(9), best=False, last=False)
    assert reports.told == []


def test_an_error_of_the_program_is_not_taken_for_the_stores(sink, reports, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(sink.checkpoints, "save", broken)
    sink.save(1, tree(1), best=False, last=True)  # does not wait for ever
    with pytest.raises(ZeroDivisionError):
        reports.settle()


# --- the newest


def test_a_new_run_has_no_checkpoint(sink, listener):
    assert sink.latest() is None
    assert listener.heard == []


def damage(remote, step: int) -> None:
    path = remote._inner.root / "checkpoints" / folder_name(step) / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_a_damaged_newest_one_is_told_and_passed_over(sink, remote, listener):
    for step in (1, 2):
        sink.save(step, tree(step), best=False, last=True)
    damage(remote, 2)
    stored = sink.latest()
    assert stored is not None
    assert stored.step == 1
    (note,) = listener.of("on_message")
    assert note.startswith("checkpoint of step 2 is skipped: ")
    damage(remote, 1)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is valid"):
        sink.latest()


def test_a_follower_takes_the_one_that_the_leader_chose(sink, remote, listener, reports):
    for step in (1, 2):
        sink.save(step, tree(step), best=False, last=True)
    follower = RayCheckpointSink(remote, 2, Follower(leading=1), listener, CPU)
    stored = follower.latest()
    assert stored is not None
    assert stored.step == 1  # whatever lies there besides
    assert RayCheckpointSink(remote, 2, Follower(leading=-1), listener, CPU).latest() is None


def test_the_others_hear_of_it_where_the_leader_finds_none_that_is_valid(sink, remote):
    """They wait for its word: it is spoken before the error is raised."""
    sink.save(1, tree(1), best=False, last=True)
    damage(remote, 1)
    said: list[int] = []

    class Leader(ReplicaGroup):
        def all_gather(self, values):
            said.append(int(values[0]))
            return values

    with pytest.raises(CheckpointError):
        RayCheckpointSink(remote, 2, Leader(), sink.callback, CPU).latest()
    assert said == [-1]
