"""Download of an artifact through the real client, from a server of this process."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from focus_ray.errors import CheckpointError, NoSuchObject, StorageError
from focus_ray.storage import hub_download
from focus_ray.storage.hub_address import HubAddress
from focus_ray.storage.hub_download import fetch, resolve_commit
from focus_ray.storage.manifest import MANIFEST, verify_artifact, write_artifact
from tests.hub_server import Hub, hub_server, use_hub

NAMES = ("model.json", "encoder.safetensors", "face.safetensors")
ADDRESS = HubAddress("owner/name")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as hub:
        use_hub(hub, tmp_path / "home", monkeypatch)
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """An artifact, and what repositories have beside it."""
    write_artifact(tmp_path / "model", "model", [("model.json", b"{}"), ("encoder.safetensors", b"weights")])
    own = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    return own | {"README.md": b"# Card", ".gitattributes": b"", "pytorch_model.bin": b"pickle"}


def sealed(files: dict[str, bytes], **listed: bytes) -> dict[str, bytes]:
    """The files with a manifest that lists others too."""
    manifest = json.loads(files[MANIFEST])
    for name, content in listed.items():
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        manifest["files"][name.replace("__", ".")] = entry
    return files | {MANIFEST: json.dumps(manifest).encode()}


def test_only_the_files_of_the_artifact_are_downloaded_once(hub: Hub, files):
    repository = hub.add("owner/name", files)
    folder = fetch(ADDRESS, "model", NAMES)
    assert {path.name for path in folder.iterdir()} == {"model.json", "encoder.safetensors", MANIFEST}
    assert not any(path.is_symlink() for path in folder.iterdir())
    verify_artifact(folder, "model")
    assert folder.name == repository.head
    assert set(hub.downloads()) <= {"model.json", "encoder.safetensors", MANIFEST}
    before = len(hub.downloads())
    assert fetch(ADDRESS, "model", NAMES) == folder
    assert len(hub.downloads()) == before


def test_a_commit_of_the_cache_is_not_asked_for(hub: Hub, files):
    repository = hub.add("owner/name", files)
    folder, first = fetch(ADDRESS, "model", NAMES), repository.head
    repository.commit(files | {"model.json": b"[]"})
    hub.requests.clear()
    assert fetch(ADDRESS.at(first), "model", NAMES) == folder
    assert hub.requests == []
    assert resolve_commit(ADDRESS, NAMES) == ADDRESS.at(repository.head)
    assert resolve_commit(ADDRESS.at(first), NAMES) == ADDRESS.at(first)


def test_a_new_commit_replaces_an_old_one(hub: Hub, files, tmp_path: Path):
    repository = hub.add("owner/name", files)
    old = fetch(ADDRESS, "model", NAMES)
    write_artifact(tmp_path / "new", "model", [("model.json", b"{}"), ("encoder.safetensors", b"other weights")])
    repository.commit({path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()})
    new = fetch(ADDRESS, "model", NAMES)
    assert new != old
    assert (new / "encoder.safetensors").read_bytes() == b"other weights"
    assert (old / "encoder.safetensors").read_bytes() == b"weights"


def test_what_was_altered_in_the_cache_is_made_anew(hub: Hub, files):
    hub.add("owner/name", files)
    folder = fetch(ADDRESS, "model", NAMES)
    (folder / "encoder.safetensors").write_bytes(b"WEIGHTS")  # the blob of the client too, by the link
    again = fetch(ADDRESS, "model", NAMES)
    assert (again / "encoder.safetensors").read_bytes() == b"weights"
    write_artifact(folder, "model", [("model.json", b"{}"), ("quality.json", b"{}")])
    fetch(ADDRESS, "model", NAMES)
    assert not (folder / "quality.json").exists()


def test_files_are_copied_where_they_cannot_be_linked(hub: Hub, files, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    hub.add("owner/name", files)
    monkeypatch.setattr(hub_download.os, "link", refuse)
    verify_artifact(fetch(ADDRESS, "model", NAMES), "model")


def test_the_cache_is_used_without_network(hub: Hub, files, monkeypatch: pytest.MonkeyPatch, caplog):
    repository = hub.add("owner/name", files)
    folder = fetch(ADDRESS, "model", NAMES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(ADDRESS, "model", NAMES) == folder
    shutil.rmtree(folder)
    assert fetch(ADDRESS, "model", NAMES) == folder
    assert resolve_commit(ADDRESS, NAMES) == ADDRESS.at(repository.head)
    assert "the hub cannot be reached" in caplog.text
    with pytest.raises(StorageError, match="hf://owner/other is not in the cache, and HF_HUB_OFFLINE is set"):
        fetch(HubAddress("owner/other"), "model", NAMES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.status = 503
    assert fetch(ADDRESS, "model", NAMES) == folder


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9 cannot be reached \(ConnectError\)"):
        fetch(ADDRESS, "model", NAMES)


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_out_of_order(hub: Hub, status: int):
    hub.status = status
    with pytest.raises(StorageError, match=rf"out of order \(status {status}\); try again later"):
        fetch(ADDRESS, "model", NAMES)


def test_what_is_not_there_or_not_allowed(hub: Hub, files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NoSuchObject, match=r"there is no repository owner/name at .*, or it is private"):
        fetch(ADDRESS, "model", NAMES)
    hub.add("owner/name", files, private=True)
    with pytest.raises(NoSuchObject, match="owner/name has no revision v9; give a branch, tag or commit"):
        fetch(ADDRESS.at("v9"), "model", NAMES)
    fetch(ADDRESS, "model", NAMES)
    use_hub(hub, tmp_path / "stranger", monkeypatch, token=False)
    with pytest.raises(NoSuchObject, match="or it is private; check the name, and set HF_TOKEN"):
        fetch(ADDRESS, "model", NAMES)
    hub.add("owner/name", files, gated=True)
    with pytest.raises(StorageError, match="open to accepted users only; ask for access on its page"):
        fetch(ADDRESS, "model", NAMES)
    hub.status = 403
    with pytest.raises(StorageError, match="the token does not allow this"):
        fetch(ADDRESS, "model", NAMES)
    hub.status = 418
    with pytest.raises(StorageError, match=r"refused the request for hf://owner/name \(status 418\)"):
        fetch(ADDRESS, "model", NAMES)


def test_a_repository_without_a_model_is_not_downloaded(hub: Hub, files):
    hub.add("owner/name", {"config.json": b"{}", "model.safetensors": b"weights"})
    with pytest.raises(CheckpointError, match=r"hf://owner/name is not a model of focus-ray: it has no manifest\.json"):
        fetch(ADDRESS, "model", NAMES)
    assert hub.downloads() == []


@pytest.mark.parametrize("sizes", [{"encoder.safetensors": 5 << 30}, {MANIFEST: 2 << 20}])
def test_sizes_are_checked_before_anything_is_downloaded(hub: Hub, files, sizes):
    hub.add("owner/name", files)
    hub.sizes = sizes
    with pytest.raises(CheckpointError, match="GB of model files, more than"):
        fetch(ADDRESS, "model", NAMES)
    assert hub.downloads() == []


def test_a_hub_that_tells_no_sizes_is_not_used(hub: Hub, files):
    hub.add("owner/name", files)
    hub.sizes = {"encoder.safetensors": None}
    with pytest.raises(StorageError, match="does not say how large the files"):
        fetch(ADDRESS, "model", NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: sealed(files, pytorch_model__bin=b"pickle"), "lists pytorch_model.bin, which is no file of a"),
        (lambda files: sealed(files, face__safetensors=b"face"), "face.safetensors of hf://owner/name is missing"),
        (lambda files: files | {"encoder.safetensors": b"w"}, "has another size than its manifest lists"),
        (lambda files: files | {MANIFEST: b"{"}, "hf://owner/name/manifest.json is damaged"),
        (lambda files: files | {MANIFEST: files[MANIFEST].replace(b'"model"', b'"prior"')}, "is a 'prior', not a mod"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_before_the_weights_are_downloaded(hub: Hub, files, change, message):
    hub.add("owner/name", change(files))
    with pytest.raises(CheckpointError, match=message):
        fetch(ADDRESS, "model", NAMES)
    assert set(hub.downloads()) <= {MANIFEST}


def test_altered_weights_are_refused(hub: Hub, files, tmp_path: Path):
    hub.add("owner/name", files | {"encoder.safetensors": b"WEIGHTS"})
    with pytest.raises(CheckpointError, match=r"hf://owner/name@\w+/encoder\.safetensors was altered"):
        fetch(ADDRESS, "model", NAMES)
    assert not any(name.endswith(".safetensors") for _, _, names in os.walk(tmp_path / "home/assets") for name in names)


def test_a_commit_during_the_download_is_noticed(hub: Hub, files, monkeypatch: pytest.MonkeyPatch):
    repository = hub.add("owner/name", files)
    listed = hub_download._list_files

    def commit_after(*arguments: object) -> object:
        listing = listed(*arguments)  # pyright: ignore[reportArgumentType]
        repository.commit(files | {"README.md": b"# New"})
        return listing

    monkeypatch.setattr(hub_download, "_list_files", commit_after)
    with pytest.raises(StorageError, match="was changed during the download; try again"):
        fetch(ADDRESS, "model", NAMES)
