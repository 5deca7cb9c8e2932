"""Figures of composites: by family, with intervals over persons."""

import json

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.evaluation.composite_figures import subsets, summarise, summarise_detection, summarise_difference
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.numerics.bootstrap import GroupBootstrap


def row(number: int, family: str, training: str, person: str) -> CompositeRow:
    return CompositeRow(f"images/{number:06d}.png", f"{number}.jpg", person, family, training, 0.2)


ROWS = [
    row(0, "hand", "unseen", "anna"),
    row(1, "hand", "unseen", "bert"),
    row(2, "bar", "seen", "anna"),
    row(3, "none", "none", "bert"),
    row(4, "none", "none", "cleo"),
]
PICTURES = np.array(
    [
        PictureScores(80, 20, 10, 190, 0.3, 0.04, 20.0, 30.0),
        PictureScores(30, 70, 40, 160, 0.2, 0.06, float("nan"), 10.0),
        PictureScores(50, 0, 50, 200, 0.4, 0.02, 30.0, 50.0),
        PictureScores(0, 0, 30, 270, 0.1, 0.03, 10.0, 20.0),
        PictureScores(0, 0, 0, 300, 0.25, 0.05, 10.0, float("nan")),
    ]
)


def figures_of(found: list[bool], photo_tones: np.ndarray | None = None) -> dict:
    known = np.array(found)
    table = np.where(known[:, None], PICTURES, np.nan)
    scores = CompositeScores(ROWS, known, {})
    bootstrap = GroupBootstrap([one.person for one in ROWS])
    return summarise(scores, table, bootstrap, subsets(ROWS), photo_tones)


def test_figures_by_subset():
    figures = figures_of([True] * 5)
    assert list(figures) == ["all", "open", "occluded", "occluded_seen", "occluded_unseen", "bar", "hand"]
    hand = figures["hand"]
    assert hand["pictures"] == 2
    assert hand["outlier_iou"]["value"] == pytest.approx(110 / 250)
    assert hand["outlier_recall"]["value"] == pytest.approx(110 / 200)
    assert hand["outlier_precision"]["value"] == pytest.approx(110 / 160)
    assert hand["nme"]["value"] == pytest.approx(5.0)
    assert hand["rmse_255"]["value"] == pytest.approx(20.0)
    assert hand["outlier_iou"]["low"] == pytest.approx(30 / 140)
    assert hand["outlier_iou"]["high"] == pytest.approx(80 / 110)
    assert figures["occluded_unseen"] == hand
    assert figures["bar"]["outlier_iou"] == {"value": pytest.approx(0.5), "low": None, "high": None}
    assert figures["open"]["false_alarms"]["value"] == pytest.approx(5.0)
    assert "outlier_iou" not in figures["open"]
    assert figures["all"]["occlusion_auc"]["value"] == pytest.approx(5 / 6)  # 0.2 against 0.25 is the one wrong pair


def test_faces_that_were_not_found_have_no_influence():
    figures = figures_of([True, False, True, True, False])
    assert figures["hand"]["pictures"] == 1
    assert figures["hand"]["outlier_iou"]["value"] == pytest.approx(80 / 110)
    assert figures["all"]["nme"]["value"] == pytest.approx(3.0)
    assert figures["all"]["occlusion_auc"]["value"] == 1.0
    assert figures["open"]["pictures"] == 1


def test_subsets_without_figures_are_none():
    figures = figures_of([False] * 5)
    assert figures["all"]["nme"] == {"value": None, "low": None, "high": None}
    json.dumps(figures, allow_nan=False)


def test_the_rate_of_detection_by_family():
    scores = CompositeScores(ROWS, np.array([True, False, True, True, True]), {})
    rates = summarise_detection(scores, GroupBootstrap([one.person for one in ROWS]), subsets(ROWS))
    assert rates["hand"] == {"pictures": 2, "found": 1, "rate": {"value": 50.0, "low": 0.0, "high": 100.0}}
    assert (rates["all"]["found"], rates["all"]["rate"]["value"]) == (4, pytest.approx(80.0))
    assert rates["bar"]["rate"] == {"value": 100.0, "low": None, "high": None}


def test_differences_of_some_composites_and_the_others():
    scores = CompositeScores(ROWS, np.array([True] * 5), {})
    bootstrap = GroupBootstrap([one.person for one in ROWS])
    of_anna = np.array([one.person == "anna" for one in ROWS])
    figures = summarise(scores, PICTURES, bootstrap, subsets(ROWS), group=of_anna)
    assert figures["occluded"]["outlier_iou"] == {
        "value": pytest.approx(130 / 210 - 30 / 140),
        "low": None,  # there is one Anna
        "high": None,
    }
    assert figures["all"]["nme"]["value"] == pytest.approx(3.0 - 14 / 3)
    assert figures["open"]["false_alarms"]["value"] is None


def test_the_albedo_is_compared_with_the_photograph_where_both_are_known():
    figures = figures_of([True] * 5, np.array([20.0, 25.0, float("nan"), 40.0, 30.0]))
    assert figures["hand"]["tone_error"]["value"] == pytest.approx(12.5)
    assert figures["hand"]["tone_difference"]["value"] == pytest.approx(-2.5)
    assert figures["open"]["tone_error"] == {"value": pytest.approx(20.0), "low": 20.0, "high": 20.0}
    assert figures["bar"]["tone_error"] == {"value": None, "low": None, "high": None}
    assert "tone_error" not in figures_of([True] * 5)["hand"]


def test_differences_of_two_methods_are_paired():
    scores = CompositeScores(ROWS, np.array([True] * 5), {})
    bootstrap = GroupBootstrap([one.person for one in ROWS])
    other = PICTURES.copy()
    other[:, 5] += 0.01  # nme: the same in all pictures
    other[1, :2] = 60, 40
    found = summarise_difference(scores, other, PICTURES, bootstrap, subsets(ROWS))
    assert found["all"]["nme"] == {name: pytest.approx(1.0) for name in ("value", "low", "high")}
    assert found["hand"]["outlier_recall"]["value"] == pytest.approx(30 / 200)
    assert found["bar"]["outlier_iou"] == {"value": 0.0, "low": None, "high": None}
    assert found["open"]["pictures"] == 2
    same = summarise_difference(scores, PICTURES, PICTURES, bootstrap, subsets(ROWS))
    assert same["occluded"]["outlier_iou"] == {"value": 0.0, "low": 0.0, "high": 0.0}
