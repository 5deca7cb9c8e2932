"""Detection of a folder in one process: files, reasons, resumption, and what is not replaced."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from focus_ray.data.detect_landmarks import DetectSettings
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.photos import PhotoFolder
from focus_ray.detection.detect_folder import cut_pieces, detect_folder
from focus_ray.detection.shards import SHARDS, ShardStore
from focus_ray.errors import ConfigError, DataError, Interrupted
from focus_ray.storage.object_store import LocalStore
from tests.detection.conftest import write_picture

FILES = ("landmarks.csv", "landmarks.parquet", "detect.json")
LINES = ["anna/a.png", "b.png", "two.png"]


class Progress:
    """Records the progress, and stops the detection at a count as Ctrl-C does."""

    def __init__(self, stop_at: int | None = None):
        self.done: list[int] = []
        self.stop_at = stop_at

    def __call__(self, name: str, done: int, total: int) -> None:
        self.done.append(done)
        if self.stop_at is not None and done >= self.stop_at:
            raise KeyboardInterrupt


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def test_the_files_that_training_and_programs_read(folder: Path, mesh_spec: DetectorSpec):
    summary = detect_folder(folder, mesh_spec)
    assert list(read_landmarks(folder / "landmarks.csv")) == LINES
    assert PhotoFolder(folder, image_size=32).names == LINES
    assert {reason: count for reason, count in summary.counts.items() if count} == {
        "found": 2,
        "several_faces": 1,
        "no_face": 1,
        "unreadable": 1,
    }
    assert (summary.pictures, summary.faces, summary.landmarks) == (5, 4, 3)
    written = json.loads((folder / "detect.json").read_bytes())
    assert written["detector"]["files"] == dict(mesh_spec.info.files)
    assert written["unreadable"] == {"undecodable": 1}
    assert written["left_out"] == {"no picture": 1}
    assert [(one["name"], one["reason"]) for one in written["problems"]] == [
        ("damaged.jpg", "unreadable"),
        ("none.png", "no_face"),
    ]
    table = pq.read_table(folder / "landmarks.parquet")
    assert [(row["name"], row["face"], row["used"]) for row in table.to_pylist()] == [
        ("anna/a.png", 0, True),
        ("b.png", 0, True),
        ("two.png", 0, True),
        ("two.png", 1, False),
    ]
    assert json.loads(table.schema.metadata[b"focus-ray"])["detector"]["name"] == "mesh"
    points = table["landmarks"].to_pylist()[1]
    np.testing.assert_allclose(
        np.reshape(points, (68, 2)), read_landmarks(folder / "landmarks.csv")["b.png"], atol=0.006
    )


def test_an_interrupted_detection_is_resumed(folder: Path, mesh_spec: DetectorSpec, tmp_path: Path):
    detect_folder(folder, mesh_spec, out=tmp_path / "straight")
    with pytest.raises(Interrupted, match=r"finished pictures are kept in .*, run the same command to resume"):
        detect_folder(folder, mesh_spec, out=tmp_path / "out", progress=Progress(stop_at=2))
    assert not (tmp_path / "out" / "landmarks.csv").exists()
    resumed = Progress()
    detect_folder(folder, mesh_spec, out=tmp_path / "out", progress=resumed)
    assert resumed.done[0] == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_only_new_and_replaced_pictures_are_detected(folder: Path, mesh_spec: DetectorSpec):
    detect_folder(folder, mesh_spec)
    write_picture(folder / "c.png", shift=4)
    write_picture(folder / "damaged.jpg", shift=6)
    (folder / "two.png").unlink()
    progress = Progress()
    summary = detect_folder(folder, mesh_spec, progress=progress)
    assert progress.done[0] == 3
    assert list(read_landmarks(folder / "landmarks.csv")) == ["anna/a.png", "b.png", "c.png", "damaged.jpg"]
    assert summary.counts["no_face"] == 1
    again = Progress()
    detect_folder(folder, mesh_spec, progress=again)
    assert again.done == [5]


def test_other_settings_detect_all_again_and_say_so(folder: Path, mesh_spec: DetectorSpec):
    detect_folder(folder, mesh_spec)
    said: list[str] = []
    progress = Progress()
    with pytest.raises(DataError, match="none of 5 pictures has landmarks"):
        detect_folder(folder, mesh_spec, settings=DetectSettings(least_face=90.0), progress=progress, note=said.append)
    assert progress.done[0] == 0
    assert said == ["results of another detector or of other settings are not used: all pictures are detected again"]
    assert not (folder / "landmarks.csv").exists()
    assert json.loads((folder / "detect.json").read_bytes())["counts"]["face_too_small"] == 3


def test_points_that_were_corrected_are_not_replaced(folder: Path, mesh_spec: DetectorSpec):
    detect_folder(folder, mesh_spec)
    lines = (folder / "landmarks.csv").read_text().splitlines()
    (folder / "landmarks.csv").write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(ConfigError, match=r"landmarks\.csv was not written by the detection, or was changed since"):
        detect_folder(folder, mesh_spec)
    assert len((folder / "landmarks.csv").read_text().splitlines()) == 2


def test_the_output_of_others_is_not_replaced(folder: Path, mesh_spec: DetectorSpec, tmp_path: Path):
    detect_folder(folder, mesh_spec, out=tmp_path / "out")
    write_picture(tmp_path / "more" / "a.png")
    with pytest.raises(ConfigError, match=r"holds the landmarks of .*photos; choose another folder"):
        detect_folder(tmp_path / "more", mesh_spec, out=tmp_path / "out")
    (tmp_path / "more" / "detect.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"detect\.json is not that of a detection"):
        detect_folder(tmp_path / "more", mesh_spec)


def test_a_stop_between_two_files_is_resumed(folder: Path, mesh_spec: DetectorSpec, monkeypatch):
    detect_folder(folder, mesh_spec)
    write_picture(folder / "c.png", shift=4)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "upload", stop)
        with pytest.raises(KeyboardInterrupt):
            detect_folder(folder, mesh_spec)
    assert len(read_landmarks(folder / "landmarks.csv")) == 3
    detect_folder(folder, mesh_spec)
    assert len(read_landmarks(folder / "landmarks.csv")) == 4


def test_output_in_a_subfolder_is_no_picture(folder: Path, mesh_spec: DetectorSpec):
    summary = detect_folder(folder, mesh_spec, out=folder / "anna", recursive=True)
    assert summary.pictures == 4
    assert list(read_landmarks(folder / "anna" / "landmarks.csv")) == LINES[1:]


def test_subfolders_can_be_left_out(folder: Path, mesh_spec: DetectorSpec):
    assert detect_folder(folder, mesh_spec, recursive=False).left_out == {"subfolder": 1, "no picture": 1}
    assert list(read_landmarks(folder / "landmarks.csv")) == LINES[1:]


def test_places_without_pictures(tmp_path: Path, mesh_spec: DetectorSpec):
    with pytest.raises(DataError, match="there is no such folder"):
        detect_folder(tmp_path / "none", mesh_spec)
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(DataError, match=r"there are no pictures \(1 no picture\); give JPEG"):
        detect_folder(tmp_path, mesh_spec)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_no_face_anywhere_is_an_error_with_a_list(tmp_path: Path, mesh_spec: DetectorSpec):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"none of 1 pictures has landmarks \(1 no face\); see .*detect\.json"):
        detect_folder(tmp_path, mesh_spec)
    assert sorted(path.name for path in tmp_path.iterdir()) == [SHARDS, "a.png", "detect.json", "landmarks.parquet"]


@pytest.mark.parametrize(("count", "tasks", "size"), [(1, 4, 1), (60, 2, 8), (10_000, 2, 64), (400_000, 8, 100)])
def test_pieces_are_small_and_not_too_many(tmp_path: Path, count: int, tasks: int, size: int):
    names = [f"{number:06}" for number in range(count)]
    shards = ShardStore(LocalStore(tmp_path), "digest", dict.fromkeys(names, "1"))
    pieces = cut_pieces(shards, names, tasks)
    assert len(pieces[0].names) == size
    assert [name for piece in pieces for name in piece.names] == names
    assert len(pieces) <= 4000
