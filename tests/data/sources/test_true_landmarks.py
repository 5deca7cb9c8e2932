"""Pictures with their true landmarks, from a landmark file or from a file beside each picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.sources.true_landmarks import open_true_landmarks
from focus_ray.errors import DataError, LandmarkError
from tests.data.sources.test_aflw2000 import POSE, PT3D
from tests.data.sources.test_pts_file import POINTS, pts_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures without landmarks, one of them in a subfolder."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "more/c.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_files_beside_the_pictures(folder: Path):
    (folder / "a.pts").write_text(pts_text(POINTS + 1))
    savemat(folder / "more/c.mat", {"pt3d_68": PT3D, "Pose_Para": POSE})
    found = open_true_landmarks(folder)
    assert list(found.faces) == ["a.png", "more/c.png"]
    assert found.unknown == ["b.jpg"]
    assert found.problems == []
    for face in found.faces.values():
        np.testing.assert_allclose(face.points, POINTS, atol=1e-5)
    assert found.faces["a.png"].yaw is None
    assert found.faces["more/c.png"].yaw == pytest.approx(np.degrees(-1.2))


def test_a_landmark_file_of_the_folder_or_a_given_one_comes_first(folder: Path, tmp_path: Path):
    (folder / "a.pts").write_text(pts_text(POINTS + 1))
    write_landmarks(folder / "landmarks.csv", {"b.jpg": POINTS, "gone.jpg": POINTS})
    found = open_true_landmarks(folder)
    assert (list(found.faces), found.unknown) == (["b.jpg"], ["a.png", "more/c.png"])
    assert found.problems == ["1 of 2 lines of the landmark file match no picture and are ignored; first: gone.jpg"]
    write_landmarks(tmp_path / "other.csv", {"more/c.png": POINTS})
    assert list(open_true_landmarks(folder, tmp_path / "other.csv").faces) == ["more/c.png"]


def test_a_damaged_file_is_a_problem_and_the_others_are_read(folder: Path):
    (folder / "a.pts").write_text(pts_text(POINTS + 1))
    (folder / "b.pts").write_text("nothing")
    found = open_true_landmarks(folder)
    assert list(found.faces) == ["a.png"]
    assert len(found.problems) == 1
    assert "b.pts: the points cannot be read" in found.problems[0]


def test_a_folder_within_can_be_left_out(folder: Path):
    (folder / "a.pts").write_text(pts_text(POINTS + 1))
    assert open_true_landmarks(folder, exclude=folder / "more").unknown == ["b.jpg"]


def test_folders_without_pictures_or_landmarks_are_errors(folder: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are no pictures"):
        open_true_landmarks(tmp_path / "empty")
    with pytest.raises(DataError, match="there is no such folder"):
        open_true_landmarks(tmp_path / "gone")
    with pytest.raises(LandmarkError, match="no picture has true landmarks"):
        open_true_landmarks(folder)
    write_landmarks(tmp_path / "other.csv", {"gone.jpg": POINTS})
    with pytest.raises(LandmarkError, match="none of its lines names a picture"):
        open_true_landmarks(folder, tmp_path / "other.csv")
    (folder / "a.pts").write_text("nothing")
    with pytest.raises(LandmarkError, match=r"a\.pts: the points cannot be read"):
        open_true_landmarks(folder)
