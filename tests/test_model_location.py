"""Where a model is."""

from pathlib import Path

import pytest

from focus_ray import model, model_location
from focus_ray.errors import ConfigError
from focus_ray.model_location import (
    SHIPPED_MODELS,
    fetch_from_hub,
    find_commit,
    find_model,
)
from tests.hub_server import hub_server, use_hub


def test_the_default_is_the_portrait_model():
    assert find_model(None) == find_model("portrait") == SHIPPED_MODELS["portrait"]
    assert find_model("embedded") == SHIPPED_MODELS["embedded"]
    assert model.load().version.startswith("portrait-")


def test_a_name_is_a_model_of_the_package_and_a_path_is_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(SHIPPED_MODELS, "second", tmp_path / "second")
    assert find_model("second") == tmp_path / "second"
    assert find_model(Path("second")) == Path("second")
    assert find_model("./second") == Path("second")
    assert find_model("runs/mine/model") == Path("runs/mine/model")


def test_other_schemes_are_refused():
    with pytest.raises(
        ConfigError, match="cannot be read from s3: here; give a folder, hf://owner/name, or a name: portrait, emb"
    ):
        find_model("s3://bucket/run/model")
    with pytest.raises(ConfigError, match="is not the address of a repository"):
        find_model("hf://name")


def test_nothing_is_imported_for_hubs_without_their_client(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_location, "require_client", lambda: (_ for _ in ()).throw(ConfigError("install it")))
    for use in (find_model, fetch_from_hub, find_commit, model.load_from):
        with pytest.raises(ConfigError, match="install it"):
            use("hf://owner/name")


def test_a_model_of_a_hub_is_loaded(untrained: model.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model.save(tmp_path / "model", untrained)
    with hub_server() as hub:
        use_hub(hub, tmp_path / "home", monkeypatch)
        repository = hub.add("owner/name", {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()})
        assert model.load(find_model("hf://owner/name")).version == "test"
        assert model.load_from(f"hf://owner/name@{repository.head}").version == "test"
        assert find_commit("hf://owner/name@main") == f"hf://owner/name@{repository.head}"
