"""The checkpoints of a run in a store: what holds for a folder holds for a bucket, and half uploads are nothing."""

import logging
from pathlib import Path

import pytest
import torch

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.storage import checkpoint
from focus_ray.storage.checkpoint import Checkpoints, folder_name
from focus_ray.storage.s3 import S3Store


@pytest.fixture
def place(store):
    return store.at("checkpoints")


def state(step: int) -> dict:
    return {"encoder": {"w": torch.full((3, 2), float(step))}, "step": step}


def test_a_state_comes_back(place):
    checkpoints = Checkpoints(place)
    assert checkpoints.latest() is None
    assert checkpoints.best() is None
    assert checkpoints.steps() == []
    checkpoints.save(7, state(7))
    stored = checkpoints.latest()
    assert stored is not None
    assert (stored.step, stored.folder, stored.skipped) == (7, f"{place}/step-00000007", ())
    assert torch.equal(stored.state["encoder"]["w"], state(7)["encoder"]["w"])
    assert Checkpoints(str(place)).steps() == [7]


def test_the_newest_and_the_best_are_kept(place):
    checkpoints = Checkpoints(place, keep=2)
    for step in range(1, 7):
        checkpoints.save(step, state(step), best=step in (1, 3))
    assert checkpoints.steps() == [3, 5, 6]
    best = checkpoints.best()
    assert best is not None
    assert best.state["step"] == 3
    assert {entry.key.split("/")[0] for entry in place.list()} == {"best.json", *map(folder_name, (3, 5, 6))}


def test_a_folder_written_before_is_added(place, tmp_path):
    checkpoint.save(tmp_path / "written", state(4))
    Checkpoints(place).add(4, tmp_path / "written", best=True)
    best = Checkpoints(place).best()
    assert best is not None
    assert best.step == 4
    assert checkpoint.load(tmp_path / "written")["step"] == 4


def test_what_was_just_saved_is_kept_though_a_later_one_is_there(place):
    checkpoints = Checkpoints(place, keep=1)
    checkpoints.save(9, state(9))
    place.write(f"{folder_name(9)}/state.json", b"{}")
    checkpoints.save(5, state(5))
    stored = checkpoints.latest()
    assert stored is not None
    assert stored.step == 5


def test_damage_is_passed_over_told_and_repaired_by_the_next_save(place, caplog):
    checkpoints = Checkpoints(place)
    for step in (10, 20, 30):
        checkpoints.save(step, state(step))
    place.write(f"{folder_name(30)}/encoder.safetensors", b"x")
    place.delete([f"{folder_name(20)}/state.json"])
    with caplog.at_level(logging.WARNING):
        stored = checkpoints.latest()
    assert stored is not None
    assert (stored.step, stored.state["step"]) == (10, 10)
    assert [line.split(" is skipped")[0] for line in stored.skipped] == [
        "checkpoint of step 30",
        "checkpoint of step 20",
    ]
    assert all(str(place) in line for line in stored.skipped)
    assert [record.getMessage() for record in caplog.records] == list(stored.skipped)
    checkpoints.save(30, state(30))
    stored = checkpoints.latest()
    assert stored is not None
    assert (stored.step, stored.skipped) == (30, ())


def test_only_damaged_ones_are_an_error(place):
    checkpoints = Checkpoints(place)
    checkpoints.save(1, state(1))
    place.write(f"{folder_name(1)}/state.json", b"{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*checkpoints is valid; start"):
        checkpoints.latest()
    place.write("best.json", b"[]")
    with pytest.raises(CheckpointError, match=r"best\.json is damaged; remove it"):
        checkpoints.best()


# --- in a bucket


def test_a_half_upload_is_no_checkpoint_and_is_cleared_away(s3_store, monkeypatch):
    checkpoints = Checkpoints(s3_store)
    checkpoints.save(1, state(1))
    upload = S3Store.upload

    def breaking(self, path: Path, key: str) -> None:
        if key.endswith("manifest.json"):
            raise StorageError("the service is gone; wait")
        upload(self, path, key)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "upload", breaking)
        with pytest.raises(StorageError, match="gone"):
            checkpoints.save(2, state(2))
    assert s3_store.list(folder_name(2)) != []
    assert checkpoints.steps() == [1]
    stored = checkpoints.latest()
    assert stored is not None
    assert (stored.step, stored.skipped) == (1, ())
    s3_store.write("notes/mine.txt", b"mine")
    checkpoints.save(3, state(3))
    assert s3_store.list(folder_name(2)) == []
    assert s3_store.read("notes/mine.txt") == b"mine"


def test_a_store_that_refuses_is_not_taken_for_damage(s3_store, monkeypatch):
    checkpoints = Checkpoints(s3_store)
    checkpoints.save(1, state(1))

    def refuse(*_):
        raise StorageError("the service is gone; wait")

    monkeypatch.setattr(S3Store, "download", refuse)
    with pytest.raises(StorageError, match="gone"):
        checkpoints.latest()
