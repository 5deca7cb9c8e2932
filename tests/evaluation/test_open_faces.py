"""Open faces: which photographs count, false alarms, and occluded composites told from them."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.errors import DataError
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.evaluation.open_faces import list_open_faces, summarise_open_faces
from tests.data.composites.photographs import write_photographs


def test_photographs_that_are_marked_count_and_all_if_there_are_no_marks(tmp_path: Path):
    photos = write_photographs(tmp_path / "photos")
    marked = {"bert.png": {"open": True}, "anna_1.png": {"open": False}}
    assert [row.source for row in list_open_faces(photos, marked).rows] == ["bert.png"]
    assert len(list_open_faces(photos, {"bert.png": {"glasses": True}})) == 4
    assert len(list_open_faces(photos, {})) == 4
    with pytest.raises(DataError, match="none of its 4 photographs"):
        list_open_faces(photos, {"bert.png": {"open": False}})


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
