"""Predictions against pictures with masks."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources import open_labelled
from focus_ray.evaluation import labelled
from focus_ray.evaluation.labelled import score_pictures, subset_rows
from focus_ray.evaluation.methods import Method
from focus_ray.evaluation.predict import predict
from focus_ray.evaluation.rows import ResultRow


@pytest.fixture(scope="module")
def place(world_face, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "ar"
    write_dataset("ar", folder, 6, size=32, world=world_face)
    return folder


@pytest.fixture
def predictions(model, place, tmp_path) -> Path:
    folder = tmp_path / "predictions"
    assert predict(Method("ours", model), open_labelled(place), folder, None) == []
    return folder


def figure(rows: list[ResultRow], metric: str, method: str = "ours", subset: str = "overall") -> float | None:
    (row,) = [row for row in rows if (row.metric, row.method, row.subset) == (metric, method, subset)]
    return row.value


def rows_of(place: Path, predictions: Path, out: Path, what: labelled.LabelledTask = "segmentation") -> list[ResultRow]:
    pictures = open_labelled(place)
    return subset_rows(what, "ours", "ar", pictures, score_pictures(what, pictures, predictions, out, None), seed=3)


def test_the_true_masks_are_perfect_and_all_ones_are_not(place, predictions, tmp_path):
    pictures = open_labelled(place)
    for name in pictures.names:
        truth = (255 * pictures.mask(name)).astype(np.uint8)
        cv2.imwrite(str(predictions / "masks" / f"{name}.png"), truth)
    rows = rows_of(place, predictions, tmp_path)
    for metric in ("accuracy", "ppv", "tpr", "f1", "outlier_iou", "soft_f1"):
        assert figure(rows, metric) == 1.0
    assert figure(rows, "f1", "ours, all-ones mask", "scarf") < 0.95
    assert figure(rows, "outlier_recall", "ours, all-ones mask", "scarf") == 0.0
    assert {row.subset for row in rows} == {"overall", "neutral", "glasses", "scarf"}
    assert all((row.table, row.dataset, row.seed, row.partial) == ("segmentation", "ar", 3, False) for row in rows)


def test_the_targets_themselves_have_no_colour_error(place, predictions, tmp_path):
    pictures = open_labelled(place)
    for name in pictures.names:
        path = predictions / "renderings" / f"{name}.png"
        region = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 3:]
        cv2.imwrite(str(path), np.concatenate([pictures.picture(name)[..., ::-1], region], axis=2))
    assert figure(rows_of(place, predictions, tmp_path, "photometric"), "rmse_255") == 0.0


def test_what_is_missing_makes_the_rows_partial_and_is_looked_at_again(place, predictions, tmp_path):
    pictures = open_labelled(place)
    gone = predictions / "masks" / f"{pictures.names[0]}.png"
    content = gone.read_bytes()
    gone.unlink()
    scored = score_pictures("segmentation", pictures, predictions, tmp_path, None)
    assert len(scored.problems) == 1
    assert scored.problems[0].startswith(f"{pictures.names[0]}: ")
    assert all(row.partial for row in subset_rows("segmentation", "ours", "ar", pictures, scored, None))
    gone.write_bytes(content)
    assert score_pictures("segmentation", pictures, predictions, tmp_path, None).problems == []


def test_masks_of_0_and_1_are_told_and_not_scored(place, predictions, tmp_path):
    for path in (predictions / "masks").rglob("*.png"):
        cv2.imwrite(str(path), np.minimum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 1))
    pictures = open_labelled(place)
    scored = score_pictures("segmentation", pictures, predictions, tmp_path, None)
    assert len(scored.problems) == len(pictures)
    assert all("holds 0 and 1 only; write 0 and 255" in problem for problem in scored.problems)
    rows = subset_rows("segmentation", "ours", "ar", pictures, scored, None)
    assert figure(rows, "f1") is None
    assert all(row.partial for row in rows)


def test_finished_pieces_are_not_computed_again_unless_predictions_change(place, predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(labelled, "BATCH", 2)
    before = rows_of(place, predictions, tmp_path)
    looked: list[int] = []
    true_piece = labelled.LabelledScoringJob.piece

    def piece(self, number):
        looked.append(number)
        return true_piece(self, number)

    monkeypatch.setattr(labelled.LabelledScoringJob, "piece", piece)
    assert rows_of(place, predictions, tmp_path) == before
    assert looked == []
    name = open_labelled(place).names[0]
    cv2.imwrite(str(predictions / "masks" / f"{name}.png"), np.zeros((32, 32), np.uint8))
    assert rows_of(place, predictions, tmp_path) != before
    assert looked == [0, 1, 2]
