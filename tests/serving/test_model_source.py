"""Models and priors are named once and then the same for all: fetched whole, verified, kept for the next replica."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from focus_ray.errors import CheckpointError, ConfigError, FaceModelError, StorageError, TrackingError
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.prior import SHIPPED_PRIOR
from focus_ray.serving import model_source
from focus_ray.serving.model_source import (
    ModelSource,
    PriorSource,
    fetch_model,
    fetch_prior,
    load_reconstructor,
    resolve,
    resolve_prior,
)
from focus_ray.storage import artifact_store
from focus_ray.storage.manifest import read_artifact, write_artifact
from focus_ray.storage.open_store import open_store
from focus_ray.tracking.mlflow_client import MlflowServer
from tests.hub_server import hub_server, use_hub
from tests.system.servers import new_bucket, use_s3

FILES = {"model.json": b"{}", "encoder.safetensors": b"e" * 2000}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


@pytest.fixture
def local(tmp_path: Path) -> str:
    """A folder of this machine, under which models are written."""
    return str(tmp_path / "runs")


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use_s3(monkeypatch, s3_url)
    return f"s3://{new_bucket(s3_url)}/runs"


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest) -> str:
    """A folder, then a prefix in a bucket."""
    return request.getfixturevalue(request.param)


def store(place: str, key: str, files: dict[str, bytes] = FILES, kind: str = "model") -> str:
    """Write a sealed folder below a place; its address."""
    artifact_store.write(open_store(place), key, lambda folder: write_artifact(folder, kind, files.items()))
    return f"{place}/{key}"


def content(folder: Path | str | None, kind: str = "model") -> dict[str, bytes]:
    assert isinstance(folder, Path)
    return read_artifact(folder, kind)


def cached(cache: Path) -> list[str]:
    """The folders of a cache."""
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_the_shipped_model_and_its_prior_are_where_they_are(cache: Path):
    assert fetch_model(resolve(None), cache) == SHIPPED_MODELS["portrait"]
    assert resolve(None) == ModelSource(None)
    assert fetch_prior(resolve_prior(None), cache) is None
    assert fetch_prior(resolve_prior("none"), cache) == "none"
    assert not cache.exists()


def test_a_name_is_a_model_of_the_package(local: str, cache: Path, monkeypatch):
    assert resolve("portrait") == resolve(None)
    assert resolve("embedded").uri == str(SHIPPED_MODELS["embedded"])
    monkeypatch.setitem(SHIPPED_MODELS, "second", Path(store(local, "second")))
    source = resolve("second")
    assert source.uri == f"{local}/second"
    assert content(fetch_model(source, cache)) == FILES


def test_a_model_of_a_hub_is_one_commit(local: str, cache: Path, tmp_path: Path, monkeypatch):
    folder = Path(store(local, "model"))
    with hub_server() as hub:
        use_hub(hub, tmp_path / "home", monkeypatch)
        repository = hub.add("owner/name", {path.name: path.read_bytes() for path in folder.iterdir()})
        source = resolve("hf://owner/name")
        assert source.uri == f"hf://owner/name@{repository.head}"
        repository.commit({"model.json": b"[]"})
        assert content(fetch_model(source, cache)) == FILES
        use_hub(hub, tmp_path / "home of another machine", monkeypatch)
        assert content(fetch_model(source, tmp_path / "of another machine")) == FILES
        assert cached(tmp_path / "of another machine") == cached(cache)


def test_a_model_is_fetched_once_and_kept(place: str, cache: Path, monkeypatch):
    source = resolve(store(place, "one/model") + "/")
    assert source.uri == f"{place}/one/model"
    assert source.registered is None
    folder = fetch_model(source, cache)
    assert content(folder) == FILES
    monkeypatch.setattr(artifact_store, "fetch", lambda *_: pytest.fail("fetch_model twice"))
    assert fetch_model(source, cache) == folder
    assert cached(cache) == [folder.name]


def test_what_is_served_stays_the_same_when_another_model_takes_its_place(place: str, cache: Path, tmp_path: Path):
    """A replica that starts later serves what was deployed, or does not start; a new deployment serves the new one."""
    first = resolve(store(place, "model"))
    fetch_model(first, cache)
    store(place, "model", {"model.json": b"{} "})
    assert content(fetch_model(first, cache)) == FILES
    with pytest.raises(CheckpointError, match="was replaced after the endpoint was deployed; deploy it again"):
        fetch_model(first, tmp_path / "of another machine")
    assert cached(tmp_path / "of another machine") == []
    second = resolve(f"{place}/model")
    assert content(fetch_model(second, cache)) == {"model.json": b"{} "}
    assert len(cached(cache)) == 2


def test_a_damaged_copy_is_fetched_again(local: str, cache: Path):
    source = resolve(store(local, "model"))
    folder = fetch_model(source, cache)
    (folder / "encoder.safetensors").write_bytes(b"E" * 2000)
    assert content(fetch_model(source, cache)) == FILES
    (folder / "manifest.json").unlink()
    assert content(fetch_model(source, cache)) == FILES
    (folder / "stranger.py").write_text("")
    assert content(fetch_model(source, cache)) == FILES


def test_a_model_that_is_altered_at_its_place_is_not_taken(local: str, cache: Path):
    place = Path(store(local, "model"))
    (place / "encoder.safetensors").write_bytes(b"E" * 2000)
    with pytest.raises(CheckpointError, match="was altered after it was written"):
        fetch_model(resolve(str(place)), cache)
    assert cached(cache) == []


def test_a_link_is_followed_once(local: str, cache: Path, tmp_path: Path):
    store(local, "one")
    store(local, "two", {"model.json": b"two"})
    link = tmp_path / "current"
    link.symlink_to(Path(local) / "one")
    source = resolve(str(link))
    link.unlink()
    link.symlink_to(Path(local) / "two")
    assert content(fetch_model(source, cache)) == FILES
    assert content(fetch_model(resolve(str(link)), cache)) == {"model.json": b"two"}


def test_a_place_relative_to_the_working_folder(local: str, cache: Path, tmp_path: Path, monkeypatch):
    store(local, "model")
    for folder, uri in ((local, "model"), (f"{local}/model", "."), (f"{local}/model", "../model")):
        monkeypatch.chdir(folder)
        source = resolve(uri)
        assert source.uri == f"{local}/model"
    monkeypatch.chdir(tmp_path)
    assert content(fetch_model(source, cache)) == FILES


FETCH = """
import sys
from pathlib import Path
from focus_ray.serving.model_source import ModelSource, fetch_model
sys.stdin.readline()
print(fetch_model(ModelSource(sys.argv[1], sys.argv[2]), Path(sys.argv[3])))
"""


def test_replicas_of_a_machine_that_start_at_once_fetch_once(
    local: str, cache: Path, python: str, python_environment: dict[str, str]
):
    """Threads and processes: each gets the whole folder, and nothing is left beside it."""
    source = resolve(store(local, "model", {"model.json": b"{}", "encoder.safetensors": os.urandom(1 << 20)}))
    assert source.uri is not None
    assert source.digest is not None
    command = [python, "-c", FETCH, source.uri, source.digest, str(cache)]
    processes = [
        subprocess.Popen(command, env=python_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    with ThreadPoolExecutor(3) as pool:
        threads = [pool.submit(fetch_model, source, cache) for _ in range(3)]
        said = [process.communicate("go\n", timeout=120)[0].strip() for process in processes]
        folders = [thread.result() for thread in threads]
    assert {str(folder) for folder in folders} | set(said) == {str(folders[0])}
    assert len(content(folders[0])["encoder.safetensors"]) == 1 << 20
    assert cached(cache) == [folders[0].name]


def test_the_models_used_last_stay_in_the_cache(local: str, cache: Path):
    sources = [resolve(store(local, f"run-{n}", {"model.json": b"%d" % n})) for n in range(6)]
    for age, source in enumerate(sources[:4]):
        os.utime(fetch_model(source, cache), (age, age))
    fetch_model(sources[0], cache)
    for source in sources[4:]:
        fetch_model(source, cache)
    kept = {content(cache / name)["model.json"] for name in cached(cache)}
    assert kept == {b"0", b"3", b"4", b"5"}
    assert fetch_prior(resolve_prior(store(local, "prior", kind="prior")), cache) is not None
    assert len(cached(cache)) == 5


def test_a_prior_is_fetched_like_a_model(place: str, cache: Path):
    source = resolve_prior(store(place, "prior", {"prior.json": b"{}"}, "prior"))
    assert source.uri == f"{place}/prior"
    assert content(fetch_prior(source, cache), "prior") == {"prior.json": b"{}"}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("https://example.com/model", "a model cannot be fetched from https: URIs; give a folder or s3://"),
        ("http://127.0.0.1/model", "cannot be fetched from http: URIs"),
        ("file:///models/one", "cannot be fetched from file: URIs"),
        ("runs:/0123/model", "cannot be fetched from runs: URIs"),
        ("gs://bucket/model", "or models:/NAME@ALIAS"),
        ("models:/focus", "is not the URI of a registered model; give models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/focus/Production", "is not the URI of a registered model"),
        ("models:/focus/latest", "is not the URI of a registered model"),
        ("models:/focus/1/MLmodel", "is not the URI of a registered model"),
        ("models:/focus@a/../b", "is not the URI of a registered model"),
        ("models://host/focus@production", "is not the URI of a registered model"),
        ("models:/m-0123456789", "is not the URI of a registered model"),
        ("s3://key:secret@bucket/model", "credentials do not belong in a URI"),
        ("s3://model", "a folder or s3://bucket/prefix"),
        ("s3:/bucket/model", "a folder or s3://bucket/prefix"),
        (
            "",
            "the place of the model is empty or has a NUL byte; give a folder or s3://bucket/prefix/model, hf",
        ),
        (" ", "the place of the model is empty"),
        ("models\0", "the place of the model is empty"),
        ("/", "cannot be a key"),
    ],
)
def test_places_that_are_none(uri: str, message: str):
    with pytest.raises(ConfigError, match=message):
        resolve(uri)


def test_a_prior_has_no_place_in_the_registry():
    with pytest.raises(ConfigError, match=r"a prior cannot be fetched from models: .* s3://bucket/prefix/prior$"):
        resolve_prior("models:/focus@production")
    with pytest.raises(ConfigError, match="cannot be fetched from https:"):
        resolve_prior("https://example.com/prior")


def test_places_without_a_whole_model(place: str):
    with pytest.raises(CheckpointError, match=f"no model at {place}/nothing; give the "):
        resolve(f"{place}/nothing")
    prior = store(place, "prior", kind="prior")
    with pytest.raises(CheckpointError, match=rf"{prior} is a 'prior', not a model"):
        resolve(prior)
    with pytest.raises(CheckpointError, match=rf"{prior}/other"):
        resolve_prior(f"{prior}/other")


def test_the_folder_of_a_run_says_where_its_model_is(local: str):
    store(local, "run/model")
    with pytest.raises(CheckpointError, match=f"did you mean {local}/run/model"):
        resolve(f"{local}/run")


def test_a_bucket_that_does_not_answer(s3_url: str, monkeypatch):
    use_s3(monkeypatch, s3_url)
    with pytest.raises(StorageError, match="bucket"):
        resolve("s3://there-is-no-such-bucket/model")


def test_a_manifest_that_is_none_names_its_place(bucket: str):
    open_store(bucket).write("model/manifest.json", b"{")
    with pytest.raises(CheckpointError, match=rf"^{bucket}/model/manifest.json is damaged"):
        resolve(f"{bucket}/model")


# ---------------------------------------------------------------------------------------------------- the registry


@pytest.fixture
def registered(mlflow, tmp_path: Path) -> MlflowServer:
    """A registry with two versions of focus, the first in production."""
    server = MlflowServer(os.environ["MLFLOW_TRACKING_URI"], tmp_path / "artifacts")
    code = tmp_path / "mlflow_model.py"
    code.write_bytes((SHIPPED_MODELS["embedded"].parent / "tracking" / "mlflow_model.py").read_bytes())
    for number, model in enumerate((b"{}", b"{ }")):
        run = server.create_run("faces", f"{number:032x}", "one", 1000)
        folder = Path(store(str(tmp_path / f"run-{number}"), "model", FILES | {"model.json": model}))
        server.register(run, {"model": folder}, f"v{number}", code, ["torch==2.13.0"])
    server.promote("1", "production")
    return server


def test_an_alias_is_resolved_once(registered: MlflowServer, cache: Path):
    source = resolve("models:/focus@production")
    assert (source.uri, source.registered) == ("models:/focus/1", "focus/1")
    registered.promote("2", "production")
    assert content(fetch_model(source, cache)) == FILES
    again = resolve("models:/focus@production")
    assert again == resolve("models:/focus/2")
    assert content(fetch_model(again, cache)) == FILES | {"model.json": b"{ }"}


def test_nothing_but_the_model_folder_is_fetched_from_the_registry(
    registered: MlflowServer, cache: Path, tmp_path: Path
):
    code = [*(tmp_path / "artifacts").rglob("mlflow_model.py")]
    assert len(code) == 2
    for file in code:
        file.write_text("raise SystemExit('run')")
    folder = fetch_model(resolve("models:/focus@production"), cache)
    assert sorted(path.name for path in folder.iterdir()) == ["encoder.safetensors", "manifest.json", "model.json"]
    assert cached(cache) == [folder.name]


def test_without_the_registry_a_cached_model_still_starts(registered: MlflowServer, cache: Path, monkeypatch):
    source = resolve("models:/focus@production")
    folder = fetch_model(source, cache)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert fetch_model(source, cache) == folder


def test_an_artifact_that_was_altered_or_replaced_is_not_taken(registered: MlflowServer, cache: Path, tmp_path: Path):
    source = resolve("models:/focus/1")
    (altered,) = (
        path
        for path in (tmp_path / "artifacts").rglob("encoder.safetensors")
        if "{}" in (path.parent / "model.json").read_text()
    )
    altered.write_bytes(b"E" * 2000)
    with pytest.raises(CheckpointError, match=r"^models:/focus/1/encoder.safetensors was altered"):
        fetch_model(source, cache)
    write_artifact(altered.parent, "model", [("model.json", b"another")])
    with pytest.raises(CheckpointError, match="was replaced after the endpoint was deployed"):
        fetch_model(source, cache)
    manifest = json.loads((altered.parent / "manifest.json").read_text())
    manifest["files"]["../../../escaped"] = {"sha256": "0" * 64, "size": 1}
    (altered.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"models:/focus/1/manifest.json is damaged"):
        resolve("models:/focus/1")
    assert cached(cache) == []


def test_a_model_of_something_else_in_the_registry(registered: MlflowServer, tmp_path: Path):
    with registered.session() as client:
        client.create_registered_model("other")
        (tmp_path / "other" / "artifacts").mkdir(parents=True)
        (tmp_path / "other" / "model.pkl").write_bytes(b"\x80\x04.")
        client.create_model_version("other", (tmp_path / "other").as_uri())
    with pytest.raises(CheckpointError, match="models:/other/1 is not a model of focus-ray; give another version"):
        resolve("models:/other/1")


def test_what_the_registry_does_not_have(registered: MlflowServer):
    for uri in ("models:/focus@staging", "models:/focus/9", "models:/nothing@production"):
        with pytest.raises(TrackingError, match="MLflow at sqlite:"):
            resolve(uri)


def test_without_a_registry(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="models:/ needs a model registry; set MLFLOW_TRACKING_URI"):
        resolve("models:/focus@production")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").touch()
    assert str(model_source.registry()) == f"sqlite:///{tmp_path}/runs/mlflow.db"


# --------------------------------------------------------------------------------------------------- to be used


def test_the_model_of_the_shipped_prior_gets_it_and_another_model_what_is_asked(cache: Path):
    prior = resolve_prior(str(SHIPPED_PRIOR))
    assert load_reconstructor(resolve("embedded"), resolve_prior(None), cache).prior is not None
    assert load_reconstructor(resolve("embedded"), resolve_prior("none"), cache).prior is None
    assert load_reconstructor(resolve("embedded"), prior, cache).prior is not None
    assert load_reconstructor(resolve(None), resolve_prior(None), cache).prior is None
    with pytest.raises(FaceModelError):
        load_reconstructor(resolve(None), prior, cache)
    assert [name.partition("-")[0] for name in cached(cache)] == ["model", "prior"]
    assert isinstance(prior, PriorSource)
