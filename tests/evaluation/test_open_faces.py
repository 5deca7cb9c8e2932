"""Open faces: which photographs count, false alarms, and occluded composites told from them."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.picture_attributes import read_attributes
from focus_ray.errors import DataError
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.evaluation.open_faces import list_open_faces, summarise_open_faces
from tests.data.composites.photographs import astronaut, write_photographs

NAMES = ("anna_1.png", "anna_2.png", "anna_3.png", "bert.png")


def write_attributes(folder: Path, title: str, *values: str) -> Path:
    path = folder / "attributes.csv"
    lines = [f"{name},{value}" for name, value in zip(NAMES, values, strict=False)]
    path.write_text("\n".join([f"name,{title}", *lines, "another.png,yes"]))
    return path


def test_photographs_that_are_marked_count_and_all_if_there_are_no_marks(tmp_path: Path):
    photos = write_photographs(tmp_path / "photos")
    opened = list_open_faces(photos, write_attributes(tmp_path, "open", "no", "no", "no", "yes"))
    assert ([row.source for row in opened.photographs.rows], opened.marked, opened.left_out) == (["bert.png"], 1, 3)
    for attributes in (write_attributes(tmp_path, "glasses", "no", "no", "no", "yes"), None):
        opened = list_open_faces(photos, attributes)
        assert (len(opened.photographs), opened.marked, opened.left_out) == (4, None, 0)
    with pytest.raises(DataError, match="none of its 4 photographs"):
        list_open_faces(photos, write_attributes(tmp_path, "open", "no", "no", "no", "no"))
    with pytest.raises(DataError, match="1 of 4 photographs have no line"):
        list_open_faces(photos, write_attributes(tmp_path, "open", "yes", "yes", "yes"))


def test_portraits_have_the_marks_of_the_package(tmp_path: Path):
    opened, hidden = (
        next(name for name, values in read_attributes().items() if values["open"] == mark) for mark in (True, False)
    )
    write_landmarks(tmp_path / "landmarks.csv", dict.fromkeys((opened, hidden), astronaut().landmarks))
    chosen = list_open_faces(tmp_path, None)
    assert ([row.source for row in chosen.photographs.rows], chosen.marked, chosen.left_out) == ([opened], 1, 1)


def scores(rows: list[CompositeRow], pictures: list[PictureScores], found: list[bool]) -> CompositeScores:
    return CompositeScores(rows, np.array(found), {("refined", "own"): np.array(pictures)})


def picture(false: float, occlusion: float) -> PictureScores:
    return PictureScores(10, 10, false, 100 - false, occlusion, 0.02, 10.0, 30.0)


UNKNOWN = PictureScores(*[np.nan] * 8)


def test_false_alarms_and_the_area_under_the_curve():
    composites = scores(
        [
            CompositeRow("images/0.png", "a.jpg", "anna", "bar", "seen", 0.3),
            CompositeRow("images/1.png", "b.jpg", "bert", "bar", "seen", 0.1),
            CompositeRow("images/2.png", "b.jpg", "bert", "bar", "seen", 0.09),
            CompositeRow("images/3.png", "c.jpg", "cleo", "none", "none", 0.0),
            CompositeRow("images/4.png", "c.jpg", "cleo", "bar", "seen", 0.5),
        ],
        [picture(0, 0.4), picture(0, 0.15), picture(0, 0.0), picture(0, 1.0), UNKNOWN],
        [True, True, True, True, False],
    )
    photographs = scores(
        [CompositeRow(name, name, name, "none", "none", 0.0) for name in ("a.jpg", "d.jpg", "e.jpg")],
        [picture(4, 0.04), picture(20, 0.2), UNKNOWN],
        [True, True, False],
    )
    result = summarise_open_faces(composites, photographs, 200, 0, 0.95)
    assert {name: result[name] for name in ("pictures", "found", "persons", "least_covered")} == {
        "pictures": 3,
        "found": 2,
        "persons": 3,
        "least_covered": 0.1,
    }
    figures = result["figures"]["refined"]["own"]
    assert figures["false_alarms"] == {"value": pytest.approx(12.0), "low": 4.0, "high": 20.0}
    assert figures["occlusion_auc"]["value"] == pytest.approx(3 / 4)  # 0.15 against 0.2 is the one wrong pair
