"""Sealed folders in a store: none is there before it is whole, and one that goes is gone before its files are."""

from pathlib import Path

import pytest

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.storage import artifact_store
from focus_ray.storage.manifest import MANIFEST, read_artifact, write_artifact
from focus_ray.storage.object_store import Entry
from focus_ray.storage.s3 import S3Store

FILES = {"a.bin": b"a" * 10, "b.bin": b"b", "z.json": b"{}"}


def fill(folder: Path, files: dict[str, bytes] = FILES) -> None:
    write_artifact(folder, "model", files.items())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A sealed folder of this machine."""
    fill(tmp_path / "sealed")
    return tmp_path / "sealed"


def content(store, key: str) -> dict[str, bytes]:
    with artifact_store.open_folder(store, key, "model") as folder:
        return read_artifact(folder, "model")


def test_a_folder_is_stored_and_fetched(store, folder, tmp_path):
    artifact_store.upload(store, folder, "run/model")
    assert content(store, "run/model") == FILES
    assert artifact_store.list_artifacts(store.at("run")) == ["model"]
    assert artifact_store.list_artifacts(store.at("other")) == []
    artifact_store.fetch(store, "run/model", tmp_path / "copies" / "model", "model")
    assert read_artifact(tmp_path / "copies" / "model", "model") == FILES
    assert read_artifact(folder, "model") == FILES


def test_one_can_be_written_in_place(store):
    artifact_store.write(store, "run/model", fill)
    assert content(store, "run/model") == FILES


def test_another_takes_its_place_whole(store, folder, tmp_path):
    artifact_store.upload(store, folder, "model")
    fill(tmp_path / "other", {"c.bin": b"c"})
    artifact_store.upload(store, tmp_path / "other", "model")
    assert content(store, "model") == {"c.bin": b"c"}
    assert [entry.key for entry in store.list()] == ["model/c.bin", "model/manifest.json"]
    artifact_store.fetch(store, "model", folder, "model")
    assert read_artifact(folder, "model") == {"c.bin": b"c"}


def test_a_deleted_one_is_gone(store, folder):
    artifact_store.upload(store, folder, "model")
    store.write("model2/mine", b"1")
    artifact_store.delete(store, "model")
    artifact_store.delete(store, "never")
    assert store.list() == [Entry("model2/mine", 1)]


DAMAGE = {
    "altered": (lambda store: store.write("model/a.bin", b"x" * 10), "model/a.bin was altered"),
    "cut short": (lambda store: store.write("model/a.bin", b"a"), "model/a.bin has 1 bytes, its manifest lists 10"),
    "missing": (lambda store: store.delete(["model/a.bin"]), r"model.*a.bin"),
    "half a manifest": (lambda store: store.write("model/manifest.json", b"{"), "model/manifest.json is damaged"),
    "no manifest": (lambda store: store.delete(["model/manifest.json"]), "model.*manifest.json"),
    "gone": (lambda store: artifact_store.delete(store, "model"), "model"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_where_it_lies_and_what_was_fetched_before_stays(store, folder, tmp_path, damage):
    artifact_store.upload(store, folder, "model")
    do, message = DAMAGE[damage]
    do(store)
    for read in (
        lambda: content(store, "model"),
        lambda: artifact_store.fetch(store, "model", tmp_path / "sealed", "model"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            read()
        assert f"{store}/model" in str(caught.value)
        assert "; " in str(caught.value)
    assert read_artifact(folder, "model") == FILES
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_one_of_another_kind_is_refused(store, folder, tmp_path):
    artifact_store.upload(store, folder, "model")
    with pytest.raises(CheckpointError, match="is a 'model', not a checkpoint"):
        artifact_store.fetch(store, "model", tmp_path / "copy", "checkpoint")
    assert not (tmp_path / "copy").exists()


# --- in a bucket


@pytest.fixture
def requests(monkeypatch) -> list[tuple[str, str]]:
    """What is stored and deleted, in order."""
    seen: list[tuple[str, str]] = []
    upload, delete = S3Store.upload, S3Store.delete

    def uploaded(self, path, key):
        seen.append(("upload", key))
        upload(self, path, key)

    def deleted(self, keys):
        for key in keys:
            seen.append(("delete", key))
            delete(self, [key])

    monkeypatch.setattr(S3Store, "upload", uploaded)
    monkeypatch.setattr(S3Store, "delete", deleted)
    return seen


def test_the_manifest_comes_last_and_goes_first(s3_store, folder, requests):
    artifact_store.upload(s3_store, folder, "model")
    artifact_store.delete(s3_store, "model")
    names = [*FILES, MANIFEST]
    assert requests[:4] == [("upload", f"model/{name}") for name in names]
    assert requests[4] == ("delete", f"model/{MANIFEST}")
    assert sorted(requests[5:]) == [("delete", f"model/{name}") for name in FILES]


@pytest.mark.parametrize("fails", range(4))
def test_an_upload_that_ends_early_is_no_folder_and_the_next_one_takes_its_place(
    s3_store, folder, monkeypatch, fails, tmp_path
):
    fill(tmp_path / "longer", {**FILES, "c.bin": b"c"})
    artifact_store.upload(s3_store, tmp_path / "longer", "model")
    upload, left = S3Store.upload, [fails]

    def failing(self, path, key):
        if not left[0]:
            raise StorageError("the service is gone; wait")
        left[0] -= 1
        upload(self, path, key)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "upload", failing)
        with pytest.raises(StorageError, match="gone"):
            artifact_store.upload(s3_store, folder, "model")
    assert artifact_store.list_artifacts(s3_store) == []
    assert artifact_store.list_incomplete(s3_store) == (["model"] if fails else [])
    with pytest.raises(CheckpointError, match="is not a complete model"):
        content(s3_store, "model")
    artifact_store.upload(s3_store, folder, "model")
    assert content(s3_store, "model") == FILES
    assert artifact_store.list_incomplete(s3_store) == []


def test_what_an_earlier_upload_left_beside_it_does_not_matter(s3_store, folder):
    artifact_store.upload(s3_store, folder, "model")
    s3_store.write("model/left.bin", b"1")
    s3_store.write("model/deeper/left.bin", b"1")
    assert content(s3_store, "model") == FILES
