"""Figures and files of an ablation."""

import json
from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.ablation.ablation_results import describe_training, summarise_ablation, write_results
from focus_ray.evaluation.ablation.train import model_run
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.evaluation.composite_scoring import CompositeScores

LINE = [4.0, 4.0, 2.0, 20.0, 0.2, 0.05, 10.0, 30.0]


@pytest.fixture
def folder(composites: Path) -> CompositeFolder:
    return CompositeFolder(composites)


def scores(folder: CompositeFolder, mask: str = "own", nme: float = 0.05) -> CompositeScores:
    table = np.tile([*LINE[:5], nme, *LINE[6:]], (4, 1))
    found = np.array([True, True, True, False])
    tables = {(name, mask): np.where(found[:, None], table, np.nan) for name in ("one_pass", "refined")}
    return CompositeScores(folder.rows, found, tables)


@pytest.fixture
def trained(config: AblationConfig, tmp_path: Path) -> TrainingRun:
    run = model_run(config, "focus", tmp_path)
    run.folder.mkdir(parents=True)
    metrics = {"model_version": "focus-1", "steps": 8, "guard_events": [{}], "train_seconds": 3.0}
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    return run


def test_figures_and_differences_by_row_and_pass(config: AblationConfig, folder: CompositeFolder):
    rows = {"mofa": scores(folder, "all_ones", 0.07), "focus": scores(folder)}
    result = summarise_ablation(config, folder, rows, {}, ["a problem"])
    figures = result["rows"]["mofa"]["figures"]
    assert list(figures) == ["one_pass", "refined"]
    assert figures["refined"]["all"]["pictures"] == 3
    assert figures["refined"]["all"]["nme"]["value"] == pytest.approx(7.0)
    differences = result["rows"]["mofa"]["differences"]
    assert differences["refined"]["all"]["nme"]["value"] == pytest.approx(2.0)
    assert result["rows"]["focus"]["differences"] == {}
    assert (result["detection"], result["alignment"]) == (None, "landmarks")
    assert result["digest"] == config.digest
    assert result["unfinished"] == [name for name in config.rows if name not in rows]
    assert result["problems"] == ["a problem"]


def test_without_focus_there_are_no_differences(config: AblationConfig, folder: CompositeFolder):
    result = summarise_ablation(config, folder, {"mofa": scores(folder, "all_ones")}, {}, [])
    assert result["rows"]["mofa"]["differences"] == {}


def test_with_a_detector_the_share_of_found_faces_is_told(config: AblationConfig, folder: CompositeFolder):
    detected = config.model_copy(update={"detector": "mesh"})
    result = summarise_ablation(detected, folder, {"focus": scores(folder)}, {}, [])
    assert result["alignment"] == "mesh"
    assert (result["detection"]["all"]["found"], result["detection"]["all"]["pictures"]) == (3, 4)
    assert summarise_ablation(detected, folder, {}, {}, [])["detection"] is None


def test_steps_of_a_training(trained: TrainingRun):
    assert describe_training(trained) == {
        "model_version": "focus-1",
        "labels": False,
        "encoder_steps": 4,
        "segmenter_steps": 4,
        "steps": 8,
        "guard_events": 1,
        "train_seconds": 3.0,
    }


def test_the_files(config: AblationConfig, folder: CompositeFolder, trained: TrainingRun, tmp_path: Path):
    result = write_results(config, tmp_path, folder, {"focus": scores(folder)}, {"focus": trained}, ["<b> is wrong"])
    assert json.loads((tmp_path / "ablation.json").read_text()) == result
    assert "FOCUS, no planted labels  one pass" in (tmp_path / "ablation.txt").read_text()
    assert (tmp_path / "problems.txt").read_text() == "<b> is wrong\n"
    page = (tmp_path / "report.html").read_text()
    assert "1 of 11" in page
    assert "focus-1" in page
    assert "<b> is wrong" not in page
