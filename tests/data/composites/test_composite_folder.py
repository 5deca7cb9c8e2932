"""Reading a folder of composites: what is damaged is an error with a way out."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import (
    CompositeFolder,
    CompositeRow,
    is_composite_folder,
    write_rows,
)
from focus_ray.data.dataset_writers.picture_writer import write_mask, write_picture
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.errors import DataError, ImageError, LandmarkError
from tests.data.composites.photographs import astronaut

ROW = CompositeRow("images/000000.png", 'odd, "name".jpg', "a", "hand", "unseen", 0.25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo = astronaut()
    write_picture(tmp_path / ROW.picture, photo.rgb)
    mask = np.zeros(photo.rgb.shape[:2], dtype=bool)
    mask[10:20] = True
    write_mask(tmp_path / "occluders" / "000000.png", mask)
    write_landmarks(tmp_path / "landmarks.csv", {ROW.picture: photo.landmarks})
    write_rows(tmp_path / "composites.csv", [ROW])
    return tmp_path


def test_rows_pictures_and_masks_are_read_back(folder: Path):
    composites = CompositeFolder(folder)
    assert composites.rows == [ROW]
    assert not ROW.is_open
    picture = composites.picture(ROW)
    assert np.array_equal(picture, astronaut().rgb)
    assert composites.landmarks(ROW) == pytest.approx(astronaut().landmarks, abs=0.01)
    occluder = composites.occluder(ROW, *picture.shape[:2])
    assert np.flatnonzero(occluder.any(axis=1)).tolist() == list(range(10, 20))
    with pytest.raises(ImageError, match="different sizes"):
        composites.occluder(ROW, 10, 10)


def test_a_folder_of_something_else_is_no_folder_of_composites(tmp_path: Path, folder: Path):
    assert is_composite_folder(folder)
    assert not is_composite_folder(tmp_path / "gone")


def test_damaged_folders_are_errors(folder: Path):
    write_landmarks(folder / "landmarks.csv", {"images/other.png": astronaut().landmarks})
    with pytest.raises(LandmarkError, match="no landmarks of"):
        CompositeFolder(folder)
    (folder / "composites.csv").write_text((folder / "composites.csv").read_text().replace("0.2500", "much"))
    with pytest.raises(DataError, match="line 2: the row is damaged"):
        CompositeFolder(folder)
    (folder / "composites.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns are not picture, source"):
        CompositeFolder(folder)
    (folder / "composites.csv").unlink()
    with pytest.raises(DataError, match="unfinished"):
        CompositeFolder(folder)
