"""A run folder and its copy in a store: what is copied, when, and that a run goes on from the copy alone."""

import logging
import shutil
import threading
import time

import pytest
import torch

from focus_ray.errors import ClusterError, ConfigError, NoSuchObject
from focus_ray.runtime.ray_cluster import ClusterSettings
from focus_ray.storage.object_store import LocalStore
from focus_ray.training import driver, in_process
from focus_ray.training.run import Trainer
from focus_ray.training.run_folder_sync import RunFolderSync, restore_run_dir

MIRRORED = {
    "config.json", "run.json", "face.safetensors", "history.jsonl", "evaluations.jsonl", "log.jsonl", "tracking.json",
    "metrics.json", "report.html", "sheets/step-00000002.png", "sheets/step-00000004.png",
}  # fmt: skip
OTHERS = {
    ".lock", "checkpoints/best.json", "checkpoints/step-00000002/state.json", "model/model.json", "notes.txt",
    "sheets/.step-00000006.png.partial-1",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A folder with everything that a run folder can hold, and more."""
    folder = tmp_path / "run"
    for name in MIRRORED | OTHERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_files_of_a_run_are_copied_and_nothing_else(run, tmp_path):
    store = LocalStore(tmp_path / "store")
    mirror = RunFolderSync(run, store)
    mirror.on_save(2)
    mirror.close()
    assert {entry.key for entry in store.list()} == MIRRORED
    assert all(store.read(key) == (run / key).read_bytes() for key in MIRRORED)


def test_run_json_comes_last(run, remote):
    """A copy that was cut off before it is not taken for a run."""
    mirror = RunFolderSync(run, remote)
    mirror.close()
    assert remote.uploads[-1] == "run.json"
    assert sorted(remote.uploads) == sorted(MIRRORED)


def test_only_what_has_changed_is_copied_again(run, remote):
    mirror = RunFolderSync(run, remote)
    mirror.on_save(2)
    until(lambda: "run.json" in remote.uploads)
    remote.uploads.clear()
    with (run / "history.jsonl").open("a") as file:
        file.write("one line more")
    (run / "sheets" / "step-00000006.png").write_text("a new one")
    mirror.on_save(6)
    mirror.close()
    assert sorted(remote.uploads) == ["history.jsonl", "sheets/step-00000006.png"]
    assert remote.read("history.jsonl") == (run / "history.jsonl").read_bytes()


def test_nothing_is_copied_before_a_checkpoint_is_whole(run, remote):
    mirror = RunFolderSync(run, remote)
    mirror.on_message("guard: recalibrate")
    time.sleep(0.05)
    assert remote.uploads == []
    mirror.close()
    assert len(remote.uploads) == len(MIRRORED)


def test_what_is_written_while_a_copy_is_under_way_is_not_left_behind(run, remote, monkeypatch):
    """The last checkpoint is being followed when the run writes its figures and ends."""
    going, go = threading.Event(), threading.Event()
    upload = remote.upload

    def slow(path, key):
        upload(path, key)
        going.set()
        assert go.wait(30)

    monkeypatch.setattr(remote, "upload", slow)
    mirror = RunFolderSync(run, remote)
    mirror.on_save(14)
    assert going.wait(30)
    for name in MIRRORED:
        (run / name).write_text(f"the last word of {name}")
    closing = threading.Thread(target=mirror.close)
    closing.start()
    time.sleep(0.05)  # it waits for the copy that is under way
    go.set()
    closing.join()
    assert {key: remote.read(key).decode() for key in MIRRORED} == {key: f"the last word of {key}" for key in MIRRORED}


def test_a_store_that_refuses_is_told_and_caught_up_with(run, remote, caplog):
    mirror = RunFolderSync(run, remote)
    remote.ill = True
    with caplog.at_level(logging.WARNING):
        mirror.on_save(2)
        until(lambda: "the copy of the run folder in the store is out of date" in caplog.text)
    assert "does not answer; mend it" in caplog.text
    remote.ill = False
    mirror.on_save(4)
    mirror.close()
    assert sorted(remote.uploads) == sorted(MIRRORED)


def test_a_run_ends_where_the_store_is_ill_to_the_last(run, remote, caplog):
    mirror = RunFolderSync(run, remote)
    remote.ill = True
    mirror.close()
    assert "is out of date" in caplog.text


# --- back again


@pytest.fixture
def stored(run, tmp_path):
    """A run as it lies in a store: its copy, the workers' checkpoints, the model and Ray's notes."""
    store = LocalStore(tmp_path / "store" / "run")
    RunFolderSync(run, store).close()
    for key in ("checkpoints/step-00000002/state.json", "model/model.json", ".validate_storage_marker"):
        store.write(key, b"of others")
    return store


def test_the_folder_comes_back_as_it_was(run, stored, tmp_path):
    folder = restore_run_dir(str(stored), tmp_path / "new" / "place")
    assert folder == tmp_path / "new" / "place"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == MIRRORED
    assert all((folder / key).read_bytes() == (run / key).read_bytes() for key in MIRRORED)


def test_it_is_called_like_the_run_unless_a_place_is_given(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "run").mkdir(parents=True)  # an empty folder may be there
    assert restore_run_dir(f"{stored}/", None).as_posix() == "runs/run"
    assert (tmp_path / "runs" / "run" / "config.json").is_file()


def test_a_folder_with_something_in_it_is_left_alone(stored, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"mine is not empty; choose another folder"):
        restore_run_dir(str(stored), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    restore_run_dir(str(stored), tmp_path / "here")
    with pytest.raises(ConfigError, match=r"here is not empty; resume .*here, or choose another folder"):
        restore_run_dir(str(stored), tmp_path / "here")


@pytest.mark.parametrize("missing", ["run.json", "config.json"])
def test_what_is_no_whole_run_is_not_brought(stored, tmp_path, missing):
    stored.delete([missing])
    with pytest.raises(ConfigError, match="holds no run"):
        restore_run_dir(str(stored), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="holds no run"):
        restore_run_dir(str(tmp_path / "store"), tmp_path / "new")  # the folder of all runs


def test_a_run_that_came_in_part_is_not_taken_for_one(stored, tmp_path, monkeypatch):
    download = LocalStore.download

    def cut_off(store, key, path):
        if key == "sheets/step-00000004.png":
            raise NoSuchObject("gone; look again")
        download(store, key, path)

    monkeypatch.setattr(LocalStore, "download", cut_off)
    with pytest.raises(NoSuchObject):
        restore_run_dir(str(stored), tmp_path / "new")
    assert not (tmp_path / "new" / "config.json").exists()
    with pytest.raises(ConfigError, match="holds no run"):
        in_process.train(None, tmp_path / "new")


@pytest.mark.usefixtures("ellipsoid_world", "one_worker")
def test_a_run_goes_on_from_the_store_alone_to_the_same_parameters(
    config, tmp_path, weights, straight_run, monkeypatch
):
    """The driver's disk is lost with the run folder; the folder comes back, the checkpoints never were in it."""
    kept = Trainer.after_step

    def keep(run: Trainer, record) -> None:
        if record.step == 9:
            raise RuntimeError("the node went away")
        kept(run, record)

    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "after_step", keep)
        with pytest.raises(ClusterError):
            driver.train(config, tmp_path / "run", ClusterSettings(), storage=str(store))
    shutil.rmtree(tmp_path / "run")
    back = restore_run_dir(str(store / "run"), tmp_path / "another name")
    driver.train(None, back, ClusterSettings())
    one, other = weights(straight_run), weights(back)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (back / "evaluations.jsonl").read_bytes() == (straight_run / "evaluations.jsonl").read_bytes()
    assert (store / "run" / "metrics.json").read_bytes() == (back / "metrics.json").read_bytes()
