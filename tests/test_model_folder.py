"""Model folders as files."""

from pathlib import Path

import pytest

from focus_ray import model, model_folder, model_location
from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.model_folder import card, list_shipped, push, verify
from focus_ray.model_location import find_model
from tests.hub_server import hub_server, use_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use .content:DeprecationWarning")  # of huggingface_hub


@pytest.fixture
def folder(untrained: model.Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model", untrained)
    return tmp_path / "model"


def test_the_models_of_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(model_location.SHIPPED_MODELS, "second", folder)
    monkeypatch.setitem(model_location.SHIPPED_MODELS, "absent", tmp_path / "absent")
    portrait, embedded, second = list_shipped()
    assert (portrait.name, portrait.default, portrait.image_size) == ("portrait", True, 112)
    assert (embedded.name, embedded.default, second.name, second.default) == ("embedded", False, "second", False)
    assert portrait.face == "ict of the package"
    assert (second.version, second.image_size, second.face) == ("test", 32, "toy")
    assert second.megabytes == round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1)
    (folder / "model.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.json is damaged"):
        list_shipped()


def test_a_folder_is_verified(folder: Path):
    assert set(verify(folder)) == {path.name for path in folder.iterdir()}
    content = (folder / "encoder.safetensors").read_bytes()
    (folder / "encoder.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors was altered after it was written"):
        verify(folder)


def test_the_card_is_that_of_the_folder(folder: Path):
    assert "- Version: test\n" in card(folder)


def test_a_model_is_pushed_with_its_card_and_comes_back(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub_server() as hub:
        use_hub(hub, tmp_path / "home", monkeypatch)
        assert push(folder, "hf://owner/name", private=True).startswith(f"{hub.url}/owner/name/commit/")
        readme = hub.repositories["owner/name"].commits[hub.repositories["owner/name"].head]["README.md"].decode()
        assert readme == f"---\nlibrary_name: focus-ray\npipeline_tag: image-to-3d\n---\n\n{card(folder)}"
        copy = find_model("hf://owner/name")
        assert copy is not None
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }


def test_nothing_is_pushed_without_a_client(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_folder, "require_client", lambda: (_ for _ in ()).throw(ConfigError("install it")))
    with pytest.raises(ConfigError, match="install it"):
        push(folder, "hf://owner/name")
    with pytest.raises(ConfigError, match="is not the address of a repository"):
        push(folder, "owner/name")
