"""Files of scores."""

import json
from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.errors import DataError
from focus_ray.evaluation.ablation.ablation_rows import AblationRow
from focus_ray.evaluation.ablation.score import read_scores, score_row, write_scores
from focus_ray.evaluation.composite_scoring import CompositeScores


@pytest.fixture
def folder(composites: Path) -> CompositeFolder:
    return CompositeFolder(composites)


@pytest.fixture
def scores(folder: CompositeFolder) -> CompositeScores:
    table = np.arange(32.0).reshape(4, 8)
    table[1, 6] = np.nan
    return CompositeScores(folder.rows, np.array([True, True, False, True]), {("one_pass", "own"): table})


def test_scores_come_back(folder: CompositeFolder, scores: CompositeScores, tmp_path: Path):
    file = tmp_path / "scores" / "row.json"
    assert read_scores(file, "own", folder, "v1") is None
    write_scores(file, scores, "v1")
    found = read_scores(file, "own", folder, "v1")
    assert found is not None
    assert found.rows == folder.rows
    assert found.found.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(found.scores["one_pass", "own"], scores.scores["one_pass", "own"])
    assert read_scores(file, "own", folder, "v2") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"model_version": "v1"}', '{"model_version": "v1", "found": [true]}'])
def test_damaged_files_are_errors(folder: CompositeFolder, tmp_path: Path, content: str):
    (tmp_path / "row.json").write_text(content)
    with pytest.raises(DataError, match="damaged; delete it"):
        read_scores(tmp_path / "row.json", "own", folder, "v1")


def test_scores_of_other_composites_are_an_error(folder: CompositeFolder, scores: CompositeScores, tmp_path: Path):
    file = tmp_path / "row.json"
    write_scores(file, scores, "v1")
    content = json.loads(file.read_text())
    content["found"] = content["found"][:-1]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="of other composites"):
        read_scores(file, "own", folder, "v1")


def test_a_row_is_scored_once(folder: CompositeFolder, start: Path, tmp_path: Path):
    row, file, done = AblationRow("MoFA", "mofa", "all_ones"), tmp_path / "row.json", []
    found = score_row(row, start, folder, file, refine_steps=0, progress=lambda one, total: done.append((one, total)))
    assert done == [(4, 4)]
    assert list(found.scores) == [("one_pass", "all_ones")]
    assert found.scores["one_pass", "all_ones"][:, 0].sum() == 0, "no outlier is found"
    again = score_row(row, start, folder, file, refine_steps=0, progress=lambda *_: pytest.fail("scored again"))
    np.testing.assert_array_equal(again.scores["one_pass", "all_ones"], found.scores["one_pass", "all_ones"])
