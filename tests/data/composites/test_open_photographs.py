"""Photographs of open faces as composites on which nothing is pasted."""

from pathlib import Path

import pytest

from focus_ray.data.composites.open_photographs import OpenPhotographs
from focus_ray.errors import DataError, LandmarkError
from tests.data.composites.photographs import write_photographs


def test_the_named_photographs_are_read(tmp_path: Path):
    photographs = OpenPhotographs(write_photographs(tmp_path / "photos"), {"bert.png", "anna_2.png", "nobody.png"})
    assert [row.source for row in photographs.rows] == ["anna_2.png", "bert.png"]
    assert len(photographs) == 2
    assert all(row.is_open for row in photographs.rows)
    row = photographs.rows[1]
    assert photographs.picture(row).shape == (260, 233, 3)
    assert photographs.landmarks(row).shape == (68, 2)
    assert not photographs.occluder(row, 260, 233).any()
    assert len(OpenPhotographs(tmp_path / "photos")) == 4


def test_folders_without_open_faces_are_errors(tmp_path: Path):
    photos = write_photographs(tmp_path / "photos")
    with pytest.raises(DataError, match="none of its 4 photographs is listed as an open face"):
        OpenPhotographs(photos, [])
    with pytest.raises(LandmarkError, match="no such landmark file"):
        OpenPhotographs(tmp_path)
