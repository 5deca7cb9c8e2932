"""Upload of an artifact through the real client, to a server of this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.storage.hub_address import HubAddress
from focus_ray.storage.hub_download import fetch
from focus_ray.storage.hub_upload import push
from focus_ray.storage.manifest import MANIFEST, write_artifact
from tests.hub_server import Hub, hub_server, use_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use .content:DeprecationWarning")  # of the client
NAMES = ("model.json", "encoder.safetensors", "face.safetensors")
ADDRESS = HubAddress("owner/name")
CARD = "---\nlibrary_name: focus-ray\n---\n# Card\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as hub:
        use_hub(hub, tmp_path / "home", monkeypatch)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "model", "model", [("model.json", b"{}"), ("encoder.safetensors", b"weights")])
    return tmp_path / "model"


def upload(folder: Path, address: HubAddress = ADDRESS, *, private: bool = False) -> str:
    return push(folder, address, "model", NAMES, CARD, "Model v1", private=private)


def test_exactly_the_files_of_the_folder_and_a_card_are_uploaded(hub: Hub, folder: Path):
    url = upload(folder)
    repository = hub.repositories["owner/name"]
    assert url == f"{hub.url}/owner/name/commit/{repository.head}"
    stored = repository.commits[repository.head]
    assert stored.pop(".gitattributes") == b""
    assert stored.pop("README.md") == CARD.encode()
    assert stored == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not repository.private
    copy = fetch(ADDRESS, "model", NAMES)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == stored


def test_files_that_the_model_no_longer_has_are_deleted_and_others_stay(hub: Hub, folder: Path):
    hub.add("owner/name", {MANIFEST: b"{}", "face.safetensors": b"face", "LICENSE": b"text", "picture.png": b"png"})
    upload(folder)
    repository = hub.repositories["owner/name"]
    assert set(repository.commits[repository.head]) == {
        *("model.json", "encoder.safetensors", MANIFEST, "README.md", "LICENSE", "picture.png")
    }


def test_a_private_repository_is_created_and_a_public_one_is_not_used_for_it(hub: Hub, folder: Path):
    upload(folder, private=True)
    assert hub.repositories["owner/name"].private
    upload(folder, private=True)
    public = hub.add("owner/public", {".gitattributes": b""})
    with pytest.raises(ConfigError, match="hf://owner/public exists and is public"):
        upload(folder, HubAddress("owner/public"), private=True)
    assert len(public.commits) == 1


def test_a_repository_of_something_else_is_left_alone(hub: Hub, folder: Path):
    other = hub.add("owner/name", {"config.json": b"{}"})
    with pytest.raises(ConfigError, match="holds other things than a model; choose another name"):
        upload(folder)
    assert len(other.commits) == 1


def test_a_damaged_folder_is_not_uploaded(hub: Hub, folder: Path):
    (folder / "encoder.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(CheckpointError, match="was altered after it was written"):
        upload(folder)
    write_artifact(folder, "model", [("model.json", b"{}"), ("notes.txt", b"private")])
    with pytest.raises(CheckpointError, match=r"notes\.txt is no file of a model"):
        upload(folder)
    assert hub.requests == []


def test_a_revision_is_refused(hub: Hub, folder: Path):
    with pytest.raises(ConfigError, match="a model is pushed to the main branch; leave @v1 out"):
        upload(folder, ADDRESS.at("v1"))


@pytest.mark.parametrize(
    ("owner", "token", "message"),
    [
        ("others", True, "the token does not allow this for hf://others/name"),
        ("owner", False, "refuses the token, or hf://owner/name needs one; set HF_TOKEN"),
    ],
)
def test_no_access(hub: Hub, folder: Path, tmp_path: Path, monkeypatch, owner: str, token: bool, message: str):
    use_hub(hub, tmp_path / "home", monkeypatch, token=token)
    with pytest.raises(StorageError, match=message):
        upload(folder, HubAddress(f"{owner}/name"))
