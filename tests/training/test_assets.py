"""What a run needs before its first step: every missing asset is named, nothing is written."""

import json
import pickle  # noqa: TID251  (a hostile file)
from pathlib import Path

import pytest

from focus_ray import cli, presets
from focus_ray.runtime.ray_cluster import ClusterSettings
from focus_ray.training import assets
from tests.data.conftest import ar
from tests.data.prepared.stores import prepared
from tests.ellipsoid_face import ellipsoid_face

__all__ = ["ar"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = cli.main(["train", "--check", "--json", *arguments])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    return code, {**report, "by_name": {one["name"]: one for one in report["assets"]}}


def weight_file(path: Path, content: bytes = b"PK\x03\x04 archive") -> Path:
    path.write_bytes(content)
    return path


def photographs(folder: Path, *, landmarks: bool) -> Path:
    folder.mkdir()
    (folder / "one.jpg").write_bytes(b"\xff\xd8\xff")
    if landmarks:
        (folder / "landmarks.csv").write_text("")
    return folder


@pytest.mark.parametrize("preset", ["paper", "release"])
def test_every_missing_asset_is_named_with_its_source(capsys, place, preset):
    given = ["--face", "bfm2017.face", "--data", "store", "--set", "model.encoder.weights=resnet50.pth"]
    code, report = check(capsys, "--preset", preset, *given, "--gpu", "--workers", "2")
    missing = {one["name"] for one in report["assets"] if one["state"] == "missing"}
    assert missing == {"face model", "encoder weights", "recogniser", "data", "device"}
    assert code == report["exit_code"] == report["by_name"]["face model"]["error"]["exit_code"] == 4
    assert all(report["by_name"][name]["source"] for name in missing - {"device"})
    assert "CUDA" in report["by_name"]["device"]["error"]["message"]
    assert list(place.iterdir()) == []


def test_a_complete_run_is_found_with_hashes_and_terms(capsys, place):
    ellipsoid_face(80, 64, 80).save(place / "bfm.face")
    weights = [f"model.{name}.weights={weight_file(place / f'{name}.pth')}" for name in ("encoder", "perceptual")]
    data = photographs(place / "photos", landmarks=True)
    before = sorted(place.rglob("*"))
    options = ["--face", "bfm.face", "--data", str(data), "--set", weights[0], "--set", weights[1]]
    code, report = check(capsys, "--preset", "paper", *options)
    assert code == 0
    assert "sha256" in report["by_name"]["recogniser"]["version"]
    assert report["by_name"]["recogniser"]["terms"]["commercial"] == "no"
    assert "recogniser" in report["sale"]
    assert "landmarks" in report["by_name"]
    assert sorted(place.rglob("*")) == before
    assert cli.main(["train", "--check", "--preset", "paper", *options]) == 0
    assert "all there, nothing was written" in capsys.readouterr().out


def test_landmarks_that_are_missing_need_the_detector(capsys, place):
    data = photographs(place / "photos", landmarks=False)
    _, report = check(capsys, "--data", str(data))
    assert report["by_name"]["detector"]["terms"]["commercial"] == "yes"
    assert report["by_name"]["start model"]["state"] == "found"


def test_a_pickle_is_hashed_and_not_opened(place):
    class Trap:
        def __reduce__(self):
            return (Path.mkdir, (place / "opened",))

    weight_file(place / "backbone.pth", pickle.dumps(Trap()))
    config = presets.load("paper", None, [f"model.perceptual.weights={place / 'backbone.pth'}"])
    found = {one.name: one for one in assets.list_assets(config, place / "run", ClusterSettings(), local=True)}
    assert found["recogniser"].state == "found"
    assert not (place / "opened").exists()


def test_a_damaged_download_is_told_by_the_hash_in_its_name(place):
    file = weight_file(place / "resnet50-0676ba61.pth")
    config = presets.load("paper", None, [f"model.encoder.weights={file}"])
    found = {one.name: one for one in assets.list_assets(config, place / "run", ClusterSettings(), local=True)}
    assert "0676ba61" in str(found["encoder weights"].error)


@pytest.mark.parametrize("preset", sorted(set(presets.PRESETS) - {"paper", "release"}))
def test_every_other_preset_can_be_checked(capsys, preset):
    code, report = check(capsys, "--preset", preset)
    missing = {one["name"] for one in report["assets"] if one["state"] == "missing"}
    assert missing <= {"data"}  # presets that plant occluders need photographs
    assert (code == 0) == (not missing)
    assert report["plan"]["total_steps"] > 0


def test_a_server_that_does_not_answer_is_a_warning(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, report = check(capsys, "--preset", "embedded")
    assert code == 0
    assert "does not answer" in report["by_name"]["tracking"]["warning"]


def test_a_resumed_run_is_not_checked(capsys):
    assert cli.main(["train", "--check", "--resume", "runs/x"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_landmarks_beside_a_prepared_store_are_an_error(capsys, place, ar):
    prepared("ar", ar, place / "store", size=64)
    _, report = check(capsys, "--preset", "embedded", "--data", str(place / "store"), "--landmarks", "l.csv")
    assert "own landmarks" in report["by_name"]["data"]["error"]["message"]
