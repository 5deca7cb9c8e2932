"""Folders of pictures: the contract's files, one row a picture whatever it is, and nothing of the user's replaced."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.data.photos import PhotoFolder
from focus_ray.errors import ConfigError, DataError, LandmarkError, ModelError
from focus_ray.inference import Reconstructor, reconstruct_paths
from focus_ray.inference.face_result import Face
from focus_ray.model import Model
from tests.arkit_face import arkit_model
from tests.test_prior import prior_of


class Bright:
    """A detector that finds one face in every picture that is not dark."""

    def __init__(self, face):
        self.face = face

    def detect(self, image: np.ndarray):
        return [self.face] if image.mean() > 20 else []


@pytest.fixture
def model(reconstructor: Reconstructor, untrained: Model) -> Reconstructor:
    face = reconstructor.detector.detect(np.zeros((1, 1, 3), np.uint8))[0]
    small = type(face)(tuple(value / 4 for value in face.box), face.roll, face.score)
    return Reconstructor(untrained, Bright(small))


@pytest.fixture
def photos(tmp_path: Path, tiny_portrait: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    picture = Image.fromarray(tiny_portrait)
    picture.save(folder / "a.png")
    picture.save(folder / "sub" / "a.png")
    picture.save(folder / "content", "JPEG")
    Image.new("RGB", (40, 30)).save(folder / "dark.png")
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "README.md").write_text("passed over")
    return folder


def test_a_folder_gives_the_files_of_the_contract(model: Reconstructor, photos: Path, tmp_path: Path):
    out, steps = tmp_path / "out", []
    results = reconstruct_paths(
        [photos], out, model=model, formats=("obj", "ply", "glb"), progress=lambda *step: steps.append(step)
    )
    rows = json.loads((out / "results.json").read_text())
    assert [row["image"] for row in rows] == [result.image for result in results]
    assert {Path(row["image"]).name: row["status"] for row in rows} == {
        "a.png": "ok",
        "content": "ok",
        "dark.png": "no_face",
        "empty.png": "error",
        "text.jpg": "error",
        "README.md": "left_out",
        "sub": "left_out",
    }
    messages = {Path(row["image"]).name: row["message"] for row in rows}
    assert "empty" in messages["empty.png"]
    assert "not a picture" in messages["text.jpg"]
    assert messages["a.png"] == ""
    place = out / "a.png" / "face-0"
    names = {"face.json", "overlay.png", "mask.png", "mesh.obj", "mesh.mtl", "mesh.png", "mesh.ply", "mesh.glb"}
    assert {path.name for path in place.iterdir()} == names
    face = Face.model_validate_json((place / "face.json").read_text())
    assert [face] == [Face.model_validate(row) for row in rows[0]["faces"]]
    with Image.open(place / "mask.png") as mask:
        assert mask.size == (88, 75)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    for kind in ("obj", "ply", "glb"):
        assert len(trimesh.load(place / f"mesh.{kind}", force="mesh").faces) > 100
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 1000
    assert set(read_landmarks(out / "landmarks.csv")) == {"a.png", "content"}
    assert not (out / "dark.png").exists()
    assert steps[0] == ("pictures", 0, 5)
    assert steps[-1] == ("pictures", 5, 5)


@pytest.mark.parametrize(
    ("formats", "texture", "files"),
    [
        (("obj",), "photo", {"mesh.obj", "mesh.mtl", "mesh.png"}),
        (("obj", "glb"), "none", {"mesh.obj", "mesh.glb"}),
        (("glb", "ply"), "albedo", {"mesh.glb", "mesh.ply"}),
    ],
)
def test_textures_of_meshes(formats, texture, files: set[str], model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    for _ in range(2):  # the second run replaces the first one's files
        reconstruct_paths([photos / "a.png"], out, model=model, formats=formats, texture=texture)
    place = out / "a.png" / "face-0"
    assert {path.name for path in place.iterdir()} == {"face.json", "overlay.png", "mask.png"} | files
    for kind in formats:
        read = trimesh.load_mesh(place / f"mesh.{kind}", process=False)
        has_uv = getattr(read.visual, "uv", None) is not None
        assert has_uv is (texture != "none" and kind != "ply")
    if "glb" in formats:
        assert (b"KHR_materials_unlit" in (place / "mesh.glb").read_bytes()) is (texture == "photo")


def test_blendshapes_of_a_model_that_has_them(model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    morphable = Reconstructor(arkit_model(model.model), model.detector)
    results = reconstruct_paths([photos / "dark.png", photos / "a.png"], out, model=morphable, formats=("obj", "glb"))
    header, row = (out / "blendshapes.csv").read_text().splitlines()
    assert header.startswith("Timecode,BlendShapeCount,EyeBlinkLeft,")
    assert row.startswith("00:00:00:01.000,61,"), "the second picture"
    face = Face.model_validate_json((out / "a.png" / "face-0" / "face.json").read_text())
    assert face == results[1].faces[0]
    assert face.arkit is not None
    found = trimesh.load_mesh(out / "a.png" / "face-0" / "mesh.glb", process=False)
    assert found.metadata["targetNames"] == ["jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp"]
    reconstruct_paths([photos / "a.png"], out, model=model)
    assert not (out / "blendshapes.csv").exists()


def test_equal_names_do_not_meet(model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    inputs = [photos / "a.png", photos / "sub" / "a.png", photos / "a.png"]
    results = reconstruct_paths(inputs, out, model=model)
    assert [result.folder for result in results] == ["a.png", "a.png-2", "a.png-3"]
    assert all((out / str(result.folder) / "face-0" / "face.json").is_file() for result in results)


def test_one_line_of_landmarks_a_picture_which_training_finds(model: Reconstructor, photos: Path, tmp_path: Path):
    names = ["a/face.png", "b/face.png", "b/ c.png", "b/d\\e.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "a.png", tmp_path / name)
    reconstruct_paths([tmp_path / "a", tmp_path / "b"], tmp_path / "out", model=model)
    assert set(read_landmarks(tmp_path / "out" / "landmarks.csv")) == set(names)
    assert set(PhotoFolder(tmp_path, tmp_path / "out" / "landmarks.csv", image_size=32).names) == set(names)


@pytest.mark.parametrize(("written", "stored"), [("Zo\u00eb.png", "Zoe\u0308.png"), ("Zoe\u0308.png", "Zo\u00eb.png")])
def test_a_name_is_found_in_its_other_spelling(
    written: str, stored: str, model: Reconstructor, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first = reconstruct_paths([photos / "a.png"], tmp_path / "one", model=model)[0].faces[0]
    shutil.copy(photos / "a.png", tmp_path / stored)
    points = np.array(first.landmarks)
    write_landmarks(tmp_path / "l.csv", {written: points, "other.png": points})
    (result,) = reconstruct_paths([tmp_path / stored], tmp_path / "two", model=model, landmarks=tmp_path / "l.csv")
    assert "landmarks_from_model" not in result.faces[0].quality
    assert "1 of 2 lines of the landmark file match no picture and are ignored" in caplog.text
    trained_on = PhotoFolder(tmp_path, tmp_path / "l.csv", image_size=32)
    assert trained_on.names == [stored]
    assert trained_on.skipped == {"missing": 1}


def test_given_landmarks_and_box_serve_where_detection_fails(model: Reconstructor, photos: Path, tmp_path: Path):
    first = reconstruct_paths([photos / "a.png"], tmp_path / "one", model=model)[0].faces[0]
    dark = photos / "dark.png"
    write_landmarks(tmp_path / "l.csv", {"dark.png": np.array(first.landmarks) * 0.4})
    by_landmarks = reconstruct_paths([photos], tmp_path / "two", model=model, landmarks=tmp_path / "l.csv")
    status = {Path(result.image).name: result for result in by_landmarks}
    assert status["dark.png"].status == "ok"
    assert "landmarks_from_model" not in status["dark.png"].faces[0].quality
    assert "landmarks_from_model" in status["a.png"].faces[0].quality
    (by_box,) = reconstruct_paths([dark], tmp_path / "three", model=model, box=(5.0, 5.0, 20.0, 20.0))
    assert by_box.status == "ok"
    (outside,) = reconstruct_paths([dark], tmp_path / "four", model=model, box=(500.0, 5.0, 20.0, 20.0))
    assert outside.status == "error"
    with pytest.raises(ConfigError, match="single picture"):
        reconstruct_paths([photos], tmp_path / "five", model=model, box=(5.0, 5.0, 20.0, 20.0))
    (tmp_path / "bad.csv").write_text("dark.png,1,2,3\n")
    with pytest.raises(LandmarkError, match="line 1"):
        reconstruct_paths([photos], tmp_path / "six", model=model, landmarks=tmp_path / "bad.csv")


def test_a_second_run_replaces_results_and_only_results(model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    stale = out / "a.png" / "face-1"
    reconstruct_paths([photos / "a.png"], out, model=model)
    stale.mkdir()
    (stale / "face.json").write_text("{}")
    reconstruct_paths([photos / "a.png"], out, model=model)
    assert not stale.exists()
    (out / "a.png" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not a result"):
        reconstruct_paths([photos / "a.png"], out, model=model)
    with pytest.raises(ConfigError, match="is not a result"):
        reconstruct_paths([photos / "a.png"], photos, model=model)
    with pytest.raises(ConfigError, match="is a file"):
        reconstruct_paths([photos / "a.png"], photos / "a.png", model=model)
    assert (photos / "a.png").is_file()


@pytest.mark.parametrize("name", ["landmarks.csv", "results.json", "contact_sheet.png", "blendshapes.csv"])
def test_files_of_the_user_are_not_replaced(name: str, model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=f"{name} exists and is not a result"):
        reconstruct_paths([photos / "a.png"], out, model=model)
    assert (out / name).read_text() == '{"mine": 1}'


def test_the_given_landmarks_are_not_replaced(model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    reconstruct_paths([photos / "a.png"], out, model=model)
    before = (out / "landmarks.csv").read_bytes()
    with pytest.raises(ConfigError, match="would be overwritten"):
        reconstruct_paths([photos / "a.png"], out, model=model, landmarks=out / "landmarks.csv")
    assert (out / "landmarks.csv").read_bytes() == before


def test_a_second_run_removes_the_folders_that_the_first_one_listed(model: Reconstructor, photos: Path, tmp_path: Path):
    """And nothing else: neither what was put there nor what a changed list points to."""
    out, outside = tmp_path / "out", tmp_path / "outside"
    for name in ("b.png", "c.png"):
        shutil.copy(photos / "a.png", photos / name)
    reconstruct_paths([photos / name for name in ("a.png", "b.png", "c.png")], out, model=model)
    shutil.copytree(out / "b.png", out / "copy")
    shutil.copytree(out / "b.png", outside)
    (out / "c.png" / "face-0" / "notes.txt").write_text("mine")
    rows = json.loads((out / "results.json").read_text())
    (out / "results.json").write_text(json.dumps([*rows, rows[1] | {"folder": "../outside"}]))
    reconstruct_paths([photos / "a.png"], out, model=model)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"a.png", "c.png", "copy"}
    assert (outside / "face-0" / "face.json").is_file()
    listed = [row["folder"] for row in json.loads((out / "results.json").read_text())]
    assert listed == ["a.png", "c.png"]
    with pytest.raises(ConfigError, match="is not a result"):
        reconstruct_paths([photos / "c.png"], out, model=model)
    assert (out / "c.png" / "face-0" / "notes.txt").is_file()


def test_an_interrupted_second_run_keeps_and_lists_earlier_results(model: Reconstructor, photos: Path, tmp_path: Path):
    def interrupt(name: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    reconstruct_paths([photos / "content"], out, model=model)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_paths([photos / "a.png", photos / "dark.png"], out, model=model, progress=interrupt)
    assert [row["folder"] for row in json.loads((out / "results.json").read_text())] == ["a.png", "content"]
    assert (out / "content" / "face-0").is_dir()


def test_what_is_left_out_of_a_folder_has_a_row_with_the_reason(model: Reconstructor, photos: Path, tmp_path: Path):
    picture = Image.open(photos / "a.png")
    picture.save(photos / "scan.tif")
    picture.save(photos / "moving.gif")
    (photos / "link.png").symlink_to(tmp_path / "gone.png")
    (photos / ".hidden").write_text("")
    (photos / "loop").symlink_to(photos)
    out = photos / "out"
    for recursive in (False, True):
        reconstruct_paths([photos], out, model=model, recursive=recursive)
        rows = json.loads((out / "results.json").read_text())
        left_out = {Path(row["image"]).name: row["message"] for row in rows if row["status"] == "left_out"}
        subfolder = {} if recursive else {"sub": "subfolder"}
        assert left_out == subfolder | {
            "README.md": "no picture",
            "link.png": "dead link",
            "loop": "link to a folder",
            "moving.gif": "GIF",
            "scan.tif": "TIFF",
        }
        assert (str(photos / "sub" / "a.png") in [row["image"] for row in rows]) is recursive
    assert set(read_landmarks(out / "landmarks.csv")) == {"a.png", "content", "sub/a.png"}
    (tmp_path / "other").mkdir()
    picture.save(tmp_path / "other" / "a.tiff")
    with pytest.raises(DataError, match=r"no pictures in .*other \(1 TIFF\); give"):
        reconstruct_paths([tmp_path / "other"], tmp_path / "none", model=model)


def test_what_a_picture_no_longer_shows_is_removed(model: Reconstructor, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    reconstruct_paths([photos / "a.png"], out, model=model)
    shutil.copy(photos / "dark.png", photos / "a.png")
    reconstruct_paths([photos / "a.png"], out, model=model)
    assert {path.name for path in out.iterdir()} == {"results.json", "contact_sheet.png"}


def test_odd_names_get_folders_and_rows(model: Reconstructor, photos: Path, tmp_path: Path):
    bad = [os.fsdecode(b"inv\xfe.png"), os.fsdecode(b"inv\xff.png")]
    long = ["ü" * 120 + "-1.png", "ü" * 120 + "-2.png"]
    odd = tmp_path / "odd"
    odd.mkdir()
    for name in bad + long:
        shutil.copy(photos / "a.png", odd / name)
    out = tmp_path / "out"
    results = reconstruct_paths([odd], out, model=model)
    assert [result.status for result in results] == ["ok"] * 4
    assert [result.folder for result in results] == ["inv\\xfe.png", "inv\\xff.png", "ü" * 100, "ü" * 100 + "-2"]
    assert len(json.loads((out / "results.json").read_text())) == 4
    assert set(read_landmarks(out / "landmarks.csv")) == {*bad, *long}


@pytest.mark.parametrize("name", ["Screenshot 10.15\u202fPM.png", "a\u00a0b.png", "a\u200db.png", "a\nb.png"])
def test_results_hold_the_exact_path(name: str, model: Reconstructor, photos: Path, tmp_path: Path):
    shutil.copy(photos / "a.png", tmp_path / name)
    (result,) = reconstruct_paths([tmp_path / name], tmp_path / "out", model=model)
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert Path(row["image"]) == Path(result.image) == tmp_path / name
    assert row["folder"] == name
    assert (tmp_path / "out" / name / "face-0" / "face.json").is_file()


def test_a_bad_row_is_an_error_of_its_picture(model: Reconstructor, photos: Path, tmp_path: Path):
    write_landmarks(tmp_path / "l.csv", {"a.png": np.full((68, 2), 5.0)})
    results = reconstruct_paths([photos], tmp_path / "out", model=model, landmarks=tmp_path / "l.csv")
    found = {Path(result.image).name: result for result in results}
    assert found["a.png"].status == "error"
    assert "one point or line" in found["a.png"].message
    assert found["content"].status == "ok"


def test_landmarks_of_other_pictures_are_an_error(model: Reconstructor, photos: Path, tmp_path: Path):
    write_landmarks(tmp_path / "l.csv", {"other.png": np.zeros((68, 2))})
    with pytest.raises(LandmarkError, match=r"its first name is other\.png, the first picture is a\.png"):
        reconstruct_paths([photos], tmp_path / "out", model=model, landmarks=tmp_path / "l.csv")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_may_not_be_entered_is_an_error_of_its_pictures(
    model: Reconstructor, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stat = Path.stat

    def refuse(path: Path, **options):
        if path.parent.name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    inputs = [photos / "sub" / "a.png", photos / "sub", photos / "a.png"]
    results = reconstruct_paths(inputs, tmp_path / "out", model=model)
    assert [result.status for result in results] == ["error", "error", "ok"]
    assert "Permission denied" in results[0].message
    assert "Permission denied" in results[1].message


def test_missing_paths_are_rows_and_nothing_to_do_is_an_error(model: Reconstructor, tmp_path: Path):
    (result,) = reconstruct_paths([tmp_path / "gone.jpg"], tmp_path / "out", model=model)
    assert result.status == "error"
    assert "no such file" in result.message
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="there are no pictures"):
        reconstruct_paths([tmp_path / "none"], tmp_path / "out", model=model)
    with pytest.raises(ConfigError, match="no mesh format 'stl'"):
        reconstruct_paths([tmp_path], tmp_path / "out", model=model, formats=("stl",))


def test_an_interruption_keeps_what_was_done(model: Reconstructor, photos: Path, tmp_path: Path):
    def interrupt(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct_paths([photos], tmp_path / "out", model=model, progress=interrupt)
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 2


def test_a_corrected_mesh_lies_beside_the_mesh(
    model: Reconstructor, untrained: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One pass of the encoder, one subtraction (Fig. 2b); without a prior nothing is corrected."""
    correcting = Reconstructor(untrained, model.detector, prior=prior_of(untrained))
    encoder, calls = untrained.focus.encoder, []
    monkeypatch.setattr(type(encoder), "forward", _counted(type(encoder).forward, calls))
    picture = photos / "a.png"
    passes = []
    for name, one in (("plain", model), ("corrected", correcting)):
        calls.clear()
        (result,) = reconstruct_paths([picture], tmp_path / name, model=one, refine=0, formats=("obj", "glb"))
        assert result.faces[0].corrected is (one is correcting)
        passes.append(calls.copy())
    assert passes[0] == passes[1]
    folder = tmp_path / "corrected" / "a.png" / "face-0"
    assert not list((tmp_path / "plain" / "a.png" / "face-0").glob("mesh-corrected*"))
    assert (folder / "mesh-corrected.glb").is_file()
    mesh, better = (trimesh.load(folder / name, process=False) for name in ("mesh.obj", "mesh-corrected.obj"))
    moved = mesh.vertices - better.vertices
    np.testing.assert_allclose(moved, np.tile([1.0, 0.0, 0.0], (len(moved), 1)), atol=2e-4)
    with pytest.raises(ModelError, match="refine for 0 steps"):
        correcting.reconstruct(np.asarray(Image.open(picture).convert("RGB")), refine=3)


def _counted(forward, calls: list[int]):
    def counted(self, images):
        calls.append(len(images))
        return forward(self, images)

    return counted
