"""Figures of composites: by family, with intervals over persons; and the command from photographs to tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from focus_ray import cli
from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.data.synthetic_folder import write_folder
from focus_ray.evaluation import composite_scoring
from focus_ray.evaluation import composites as evaluation
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.numerics.bootstrap import GroupBootstrap
from tests.data.composites.photographs import write_photographs


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
        PictureScores(80, 20, 10, 190, 0.3, 0.04, 20.0),
        PictureScores(30, 70, 40, 160, 0.2, 0.06, float("nan")),
        PictureScores(50, 0, 50, 200, 0.4, 0.02, 30.0),
        PictureScores(0, 0, 30, 270, 0.1, 0.03, 10.0),
        PictureScores(0, 0, 0, 300, 0.25, 0.05, 10.0),
    ]
)


def summarise(found: list[bool]) -> dict:
    known = np.array(found)
    table = np.where(known[:, None], PICTURES, np.nan)
    scores = CompositeScores(ROWS, known, {})
    return evaluation._summarise(scores, table, GroupBootstrap([one.person for one in ROWS]))


def test_figures_by_subset():
    figures = summarise([True] * 5)
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
    figures = summarise([True, False, True, True, False])
    assert figures["hand"]["pictures"] == 1
    assert figures["hand"]["outlier_iou"]["value"] == pytest.approx(80 / 110)
    assert figures["all"]["nme"]["value"] == pytest.approx(3.0)
    assert figures["all"]["occlusion_auc"]["value"] == 1.0
    assert figures["open"]["pictures"] == 1


def test_subsets_without_figures_are_none():
    figures = summarise([False] * 5)
    assert figures["all"]["nme"] == {"value": None, "low": None, "high": None}
    json.dumps(figures, allow_nan=False)


def test_the_rate_of_detection_by_family():
    scores = CompositeScores(ROWS, np.array([True, False, True, True, True]), {})
    rates = evaluation._summarise_detection(scores, GroupBootstrap([one.person for one in ROWS]))
    assert rates["hand"] == {"pictures": 2, "found": 1, "rate": {"value": 50.0, "low": 0.0, "high": 100.0}}
    assert (rates["all"]["found"], rates["all"]["rate"]["value"]) == (4, pytest.approx(80.0))
    assert rates["bar"]["rate"] == {"value": 100.0, "low": None, "high": None}


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_from_photographs_to_tables_by_the_commands(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(composite_scoring, "_SKIN_PICTURES", 20)
    photos, out = write_photographs(tmp_path / "photos"), tmp_path / "out"
    options = ("--n", 4, "--seed", 1, "--families", "cup,polygon", "--persons", "pictures", "--out", out)
    code, printed, _ = run(capsys, "data", "occlude", photos, *options, "--json")
    assert code == 0
    assert json.loads(printed.splitlines()[-1]) == {"out": str(out), "n": 4, "open": 1, "persons": 4, "seed": 1}
    code, printed, error = run(capsys, "evaluate", "folder", out, "--json", "--out", tmp_path / "figures.json")
    assert (code, "error" in error) == (0, False)
    figures = json.loads(printed.splitlines()[-1])
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert figures["persons"] == 4
    own, nothing = (figures["figures"]["one_pass"][mask] for mask in ("own", "all_ones"))
    assert own["occluded"]["outlier_iou"]["value"] > 0.15
    assert nothing["occluded"]["outlier_iou"]["value"] == 0
    assert own["all"]["nme"]["value"] < 12
    assert figures["detection"] is None
    assert "skin colour" in printed
    assert "surgical mask" not in printed
    assert "Detected faces" not in printed


def test_options_that_do_not_fit_the_folder_are_errors(tmp_path: Path, capsys, ellipsoid_face):
    write_folder(tmp_path / "synthetic", n=1, size=32, world=ellipsoid_face)
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "synthetic", "--detector", "haar")
    assert (code, "--detector is for composites" in error) == (2, True)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "composites.json").write_text("{}")
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "unfinished", "--prior", tmp_path)
    assert (code, "leave it out" in error) == (2, True)
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "unfinished")
    assert (code, "unfinished" in error) == (3, True)
