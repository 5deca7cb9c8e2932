import json
from pathlib import Path

import pytest

from focus_ray.cli import main
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.face_models.provenance import Licence, Provenance


@pytest.fixture
def face_file(small_face: MorphableModel, tmp_path: Path) -> Path:
    small_face.save(tmp_path / "own.face")
    return tmp_path / "own.face"


def test_info_of_a_file(face_file: Path, small_face: MorphableModel, capsys: pytest.CaptureFixture[str]):
    assert main(["face", "info", str(face_file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["vertices"] == small_face.n_vertices
    assert printed["modes"] == [80, 64, 80]
    assert printed["info"]["digest"] == small_face.digest


def test_show_writes_pictures(face_file: Path, tmp_path: Path):
    assert main(["face", "show", str(face_file), "--out", str(tmp_path / "pictures"), "--size", "64"]) == 0
    assert {path.stem for path in (tmp_path / "pictures").glob("*.png")} == {
        "random", "identity", "expression", "albedo", "parts", "landmarks",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["import", "basel", "x.h5", "--out", "y.face"], 2, "choose from ict, bfm, flame, flame2023-open, eos, gnm"),
        (["import", "ict", "missing", "--out", "y.face"], 4, "vertex_indices.json"),
        (["import", "ict", "missing", "--out", "."], 2, "is a folder"),
        (["info", "missing.face"], 4, "there is no face model"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["face", *arguments]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "y.face").exists()


def test_names_and_licence_travel_into_the_model_folder(ellipsoid_face, untrained, tmp_path: Path):
    import torch

    from focus_ray import model as models

    face = MorphableModel.from_tensors(ellipsoid_face.tensors(), ellipsoid_face.description())
    face.expressions = NamedExpressions(("jawOpen",), torch.ones(1, face.n_expression))
    face.provenance = Provenance(
        kind="test", files={}, licence=Licence(name="MIT", commercial="yes", text="Permission"), notes=("One.",)
    )
    untrained.focus.autoencoder.renderer.model, before = face, untrained.focus.autoencoder.renderer.model
    try:
        models.save(tmp_path / "model", untrained, half=True)
    finally:
        untrained.focus.autoencoder.renderer.model = before
    loaded = models.load(tmp_path / "model").focus.face_model
    assert loaded.provenance == face.provenance
    assert loaded.expressions is not None
    assert loaded.expressions.names == ("jawOpen",)
    torch.testing.assert_close(loaded.expressions.coefficients, face.expressions.coefficients)
