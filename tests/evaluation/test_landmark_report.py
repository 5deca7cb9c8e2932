"""Rows, tables, lines and the curve of a landmark evaluation."""

import csv
import io

import cv2
import numpy as np
import pytest

from focus_ray.evaluation.landmark_report import (
    curve_picture,
    describe_failures,
    landmark_rows,
    landmark_tables,
    pictures_csv,
)
from focus_ray.evaluation.landmark_scoring import LandmarkScores

NAN = float("nan")


@pytest.fixture
def scores() -> LandmarkScores:
    """A good picture, one without a detection, one with another face, one that cannot be aligned, a damaged one."""
    detector = np.repeat([[0.02], [NAN], [NAN], [0.04], [NAN]], 68, axis=1)
    fit = np.repeat([[0.03], [NAN], [NAN], [NAN], [NAN]], 68, axis=1)
    return LandmarkScores(
        names=["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"],
        errors={"detector": detector, "one pass": fit},
        yaws=np.array([10.0, -40.0, 20.0, 5.0, NAN]),
        sizes=np.array([100.0, 100.0, 100.0, 100.0, NAN]),
        faces=np.array([1.0, 0.0, 2.0, 1.0, NAN]),
        overlaps=np.array([0.9, 0.0, 0.123, 0.8, NAN]),
        problems=["e.jpg: damaged"],
    )


def test_rows_of_all_pictures_and_by_yaw(scores: LandmarkScores):
    rows = landmark_rows(scores, "set", partial=True)
    values = {(row.method, row.subset, row.metric): row.value for row in rows}
    assert values["detector", "overall", "nme"] == pytest.approx(3)
    assert values["detector", "overall", "pictures"] == 4
    assert values["detector", "overall", "not_found"] == 50
    assert values["one pass", "overall", "not_found"] == 75
    assert values["one pass", "yaw 0-30", "nme"] == pytest.approx(3)
    assert values["one pass", "yaw 30-60", "nme"] is None
    assert {row.subset for row in rows} == {"overall", "yaw 0-30", "yaw 30-60"}
    assert all((row.table, row.dataset, row.partial) == ("landmarks", "set", True) for row in rows)


def test_reasons_of_the_failures(scores: LandmarkScores):
    assert describe_failures(scores) == {
        "b.jpg": "no face was detected",
        "c.jpg": "the true face was not among 2 detected (largest intersection over union 0.12)",
        "d.jpg": "the face was found, but one pass has no landmarks",
    }


def test_tables_show_means_and_rates(scores: LandmarkScores):
    summary, by_yaw, by_group = landmark_tables(landmark_rows(scores, "set", partial=False), "interocular")
    assert "outer eye corners" in summary.caption
    assert "4 pictures" in summary.caption
    assert [(line.method, line.cells) for line in summary.lines] == [
        ("detector", ("3.00", "3.00", "3.80", "50.00", "50.00", "28.57")),
        ("one pass", ("3.00", "3.00", "3.00", "75.00", "75.00", "14.29")),
    ]
    assert by_yaw.columns == ("yaw 0-30 (3)", "yaw 30-60 (1)")
    assert by_yaw.lines[0].cells == ("3.00", "–")
    assert by_yaw.lines[1].cells == ("33.33", "100.00")
    assert by_group.lines[0].cells == ("3.00",) * 9


def test_a_line_for_each_picture(scores: LandmarkScores):
    lines = list(csv.DictReader(io.StringIO(pictures_csv(scores).decode())))
    assert [line["status"] for line in lines] == ["ok", "failed", "failed", "failed", "not scored"]
    assert (lines[0]["nme_detector"], lines[0]["nme_one_pass"], lines[0]["yaw"]) == ("2", "3", "10")
    assert (lines[3]["nme_detector"], lines[3]["nme_one_pass"]) == ("4", "")
    assert lines[1]["reason"] == "no face was detected"
    assert lines[4]["picture"] == "e.jpg"


def test_the_curve_is_a_picture(scores: LandmarkScores):
    scores.errors["none"] = np.full((5, 68), NAN)
    drawn = cv2.imdecode(np.frombuffer(curve_picture(scores, "set", "box"), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[0] > 300
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 3
