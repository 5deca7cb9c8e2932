"""focus-ray model: what comes with the package, verification, card, publication."""

import json
import subprocess
from pathlib import Path

import pytest

from focus_ray import model
from focus_ray.cli import main, prior
from focus_ray.face_models import by_name
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.prior import SHIPPED_PRIOR
from tests.hub_server import TOKEN, hub_server


@pytest.fixture
def folder(untrained: model.Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model", untrained)
    return tmp_path / "model"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["model", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list(capsys):
    code, out, _ = run(capsys, "list", "--json")
    first, other, last = out.splitlines()
    portrait, embedded = json.loads(last)["models"]
    assert code == 0
    assert (portrait["name"], portrait["default"], portrait["image_size"]) == ("portrait", True, 112)
    assert first.startswith(f"portrait: {portrait['version']}, 112 px, ict of the package, ")
    assert first.endswith(" MB, default")
    assert other.startswith(f"embedded: {embedded['version']}, 64 px, parametric-small, ")
    assert other.endswith(" MB")


def test_verify(capsys, folder: Path):
    code, out, _ = run(capsys, "verify", str(folder), "--json")
    assert code == 0
    assert out.startswith("verified: 6 files, ")
    assert json.loads(out.splitlines()[-1])["verified"] is True
    (folder / "segmenter.safetensors").unlink()
    code, _, err = run(capsys, "verify", str(folder))
    assert code == 4
    assert "error[checkpoint]: " in err
    assert "segmenter.safetensors is missing" in err


def test_card(capsys, folder: Path):
    _, card, _ = run(capsys, "card", str(folder))
    assert card.startswith("# 3D face reconstruction (focus-ray)\n")
    assert run(capsys, "info", str(folder), "--card")[1] == card
    assert json.loads(run(capsys, "card", str(folder), "--json")[1])["card"] == card


def test_a_name_stands_for_a_folder(capsys):
    assert run(capsys, "verify", "embedded")[0] == 0
    named = json.loads(run(capsys, "info", "portrait", "--json")[1])
    assert named == json.loads(run(capsys, "info", "--json")[1])
    assert named["prior"] is None
    assert json.loads(run(capsys, "info", "embedded", "--json")[1])["prior"] == str(SHIPPED_PRIOR)
    code, _, err = run(capsys, "export", "embeded", "--out", "nothing")
    assert code == 4
    assert "no model at embeded; give the path of a model folder, hf://owner/name, or a name: portrait, embedded" in err


def test_a_prior_names_the_folder_of_a_model_of_the_package_and_keeps_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prior._location("embedded") == str(SHIPPED_MODELS["embedded"])
    assert prior._location("runs/syn/model") == str(tmp_path / "runs/syn/model")
    for address in ("hf://owner/name@v1", "s3://bucket/run/model"):
        assert prior._location(address) == address


def test_limits_are_not_stored_in_the_cache_of_a_hub(capsys, tmp_path):
    code, _, err = run(capsys, "calibrate", str(tmp_path), "--model", "hf://owner/name", "--store")
    assert code == 2
    assert "--store cannot write to hf://owner/name; export it to a folder first" in err


def test_half_precision_leaves_out_a_face_of_the_package(capsys, untrained, ellipsoid_face, tmp_path, monkeypatch):
    shipped = tmp_path / "toy.face"
    shipped.write_bytes(ellipsoid_face.to_bytes(half=True))
    monkeypatch.setattr(by_name, "SHIPPED_FACES", {ellipsoid_face.name: shipped})
    model.save(tmp_path / "run", untrained)
    for name, options in {"whole": [], "half": ["--half"]}.items():
        assert run(capsys, "export", str(tmp_path / "run"), "--out", str(tmp_path / name), *options)[0] == 0
    assert (tmp_path / "whole" / "face.safetensors").exists()
    assert not (tmp_path / "half" / "face.safetensors").exists()
    info = json.loads(run(capsys, "info", str(tmp_path / "half"), "--json")[1])
    assert info["info"]["face"]["digest"] == by_name.load_face(ellipsoid_face.name).digest
    assert {"code", "face model"} <= {part["part"] for part in info["licences"]["parts"]}
    for command in ("verify", "card"):
        assert run(capsys, command, str(tmp_path / "half"))[0] == 0
    shipped.unlink()
    for command in ("verify", "card", "info"):
        code, _, err = run(capsys, command, str(tmp_path / "half"))
        assert (code, "which this copy of focus-ray lacks" in err) == (4, True)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_push_and_use_by_processes_of_their_own(folder: Path, tmp_path: Path, python: str, python_environment):
    with hub_server() as hub:
        environment = python_environment | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
        }

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [python, "-m", "focus_ray", "model", *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

        pushed = call("push", str(folder), "hf://owner/name", "--private", "--json")
        assert pushed.returncode == 0, pushed.stderr
        assert json.loads(pushed.stdout.splitlines()[-1])["commit"].startswith(f"{hub.url}/owner/name/commit/")
        assert hub.repositories["owner/name"].private
        verified = call("verify", "hf://owner/name")
        assert verified.returncode == 0, verified.stderr
        assert verified.stdout.startswith("verified: 6 files, ")
        missing = call("verify", "hf://owner/other")
        assert missing.returncode == 5
        assert missing.stderr.startswith("error[no-such-object]: there is no repository owner/other at ")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("embedded", "is the name of a shipped model"),
        ("hf://owner/name", "hf://owner/name cannot be written to; give a folder"),
        ("s3://bucket/model", "cannot be written to"),
    ],
)
def test_the_appearance_prior_is_written_into_a_folder_only(capsys, tmp_path: Path, location: str, message: str):
    code, _, err = run(capsys, "appearance", str(tmp_path), "--model", location)
    assert (code, message in err) == (2, True), err


def test_the_model_folder_of_the_appearance_prior_must_exist(capsys, tmp_path: Path):
    code, _, err = run(capsys, "appearance", str(tmp_path), "--detector", "haar", "--model", str(tmp_path / "missing"))
    assert (code, "missing" in err) == (4, True), err
