"""An ablation from nothing, in miniature: by the command, interrupted once and resumed."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from focus_ray import cli
from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.errors import DataError, Interrupted
from focus_ray.evaluation import composite_scoring
from focus_ray.evaluation.ablation import runner
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.evaluation.composite_scoring import CompositeScores
from focus_ray.focus import appearance
from focus_ray.inference import learn_appearance
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.training.run import Trainer
from tests.conftest import quick_runs
from tests.evaluation.ablation.conftest import SHORT

ROWS = "skin-colour,pretrained,focus,focus-planted"


@pytest.mark.slow
def test_a_run_is_interrupted_and_resumed(
    capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Path, photographs: Path, composites: Path
):
    monkeypatch.setattr(composite_scoring, "_SKIN_PICTURES", 20)
    monkeypatch.setattr(learn_appearance, "MIN_FACES", 2)
    monkeypatch.setattr(appearance, "_LEAST_SAMPLES", 2)
    taken: dict[str, list[int]] = {}
    after_step = Trainer.after_step

    def count(trainer: Trainer, record) -> None:
        taken.setdefault(trainer.config.preset, []).append(record.step)
        after_step(trainer, record)
        if sum(map(len, taken.values())) == 15:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "after_step", count)

    def run(*more: str) -> tuple[int, str, str]:
        assignments = [part for text in (f"start_from={start}", *SHORT) for part in ("--set", text)]
        options = ["--data", str(photographs), "--composites", str(composites), "--out", str(tmp_path / "out")]
        chosen = ["--methods", ROWS, "--refine", "2", "--seed", "5", "--json", *more]
        with quick_runs():
            code = cli.main(["evaluate", "ablation", *options, *chosen, *assignments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, _, error = run()
    assert (code, "run the same command to resume" in error) == (130, True), error
    partial = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert list(partial["rows"]) == ["skin-colour", "pretrained"]
    assert partial["unfinished"] == ["focus", "focus-planted"]
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    del written["training"]["data"]["heldout_share"]  # a later key, with the value that changes nothing
    (tmp_path / "out" / "config.json").write_text(json.dumps(written))

    code, printed, error = run()
    assert code == 0, error
    # Of encoder and S: 4 and 0, 4 and 2, 4 and 4, 4 and 2; no step is taken twice
    assert taken == {
        "mofa": list(range(4)),
        "pretrained": list(range(6)),
        "focus": list(range(8)),
        "focus-planted": list(range(6)),
    }
    result = json.loads(printed.splitlines()[-1])
    assert result == json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert list(result["rows"]) == ROWS.split(",")
    assert result["unfinished"] == []
    assert result["problems"] == ["4 of 4 photographs of the composites have names of training photographs"]
    assert (result["composites"], result["persons"], result["start"]) == (4, 4, models.load(start).version)
    assert {model["encoder_steps"] for model in result["models"].values()} == {4}
    assert [model["labels"] for model in result["models"].values()] == [False, False, False, True]
    for name, row in result["rows"].items():
        assert list(row["figures"]) == ["one_pass", "refined"]
        assert set(row["figures"]["refined"]) >= {"open", "occluded", "cup", "polygon"}
        assert (row["differences"] == {}) == (name == "focus")
        assert row["figures"]["one_pass"]["occluded"]["outlier_iou"]["value"] is not None
    own, less = (result["rows"][name]["figures"]["refined"]["all"]["nme"]["value"] for name in ("pretrained", "focus"))
    difference = result["rows"]["pretrained"]["differences"]["refined"]["all"]["nme"]["value"]
    assert difference == pytest.approx(own - less)
    for name, learned in (("mofa", False), ("pretrained", True), ("focus", True)):
        assert (models.load(tmp_path / "out" / "runs" / name / "model").appearance is not None) == learned
    assert "Ablation on real composites" in printed
    assert "FOCUS + planted" in (tmp_path / "out" / "report.html").read_text()
    assert "minus FOCUS" in (tmp_path / "out" / "ablation.txt").read_text()

    monkeypatch.setattr(Trainer, "run", lambda _: pytest.fail("trained again"))
    monkeypatch.setattr(composite_scoring.CompositeScorer, "score", lambda *_: pytest.fail("scored again"))
    code, again, _ = run()
    assert (code, json.loads(again.splitlines()[-1])) == (0, result)
    code, _, error = run("--refine", "3")
    assert (code, "another ablation (refine_steps differ)" in error) == (2, True)


def test_too_few_photographs_are_an_error_before_anything_is_trained(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "train_model", lambda *_: pytest.fail("trained"))
    with pytest.raises(DataError, match="4 photographs, at least 20 are needed"):
        runner.run_ablation(config, tmp_path / "out")


def test_a_model_whose_prior_cannot_be_learned_is_refined_without_one(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composites: Path
):
    folder = CompositeFolder(composites)
    table = np.tile([4.0, 4.0, 2.0, 20.0, 0.2, 0.05, 10.0, 30.0], (4, 1))
    known = CompositeScores(folder.rows, np.ones(4, dtype=bool), {("one_pass", "own"): table})

    def fail(*_: object) -> None:
        raise DataError("there are 3 open faces in colour")

    bare = dataclasses.replace(models.load(SHIPPED_MODELS["embedded"]), appearance=None)
    monkeypatch.setattr(runner.models, "load", lambda _: bare)
    monkeypatch.setattr(learn_appearance, "store_appearance", fail)
    monkeypatch.setattr(runner, "score_row", lambda *_, **__: known)
    problems: list[str] = []
    ablation = runner.Ablation(config, tmp_path, lambda: False, lambda *_: None)
    assert ablation.score("focus", tmp_path, problems) is known
    assert problems == [
        "FOCUS, no planted labels: there are 3 open faces in colour; refined without a prior, as synthetic faces are",
    ]
    assert ablation.score("mofa", tmp_path, problems) is known
    assert len(problems) == 1, "an all-ones mask needs no prior"


def test_a_requested_stop_ends_the_scoring(config: AblationConfig, tmp_path: Path):
    seen: list[tuple[str, int, int]] = []
    watch = runner.Ablation(config, tmp_path, lambda: len(seen) > 1, lambda *one: seen.append(one)).watch("scoring")
    watch("focus", 1, 4)
    with pytest.raises(Interrupted, match="run the same command to resume"):
        watch("focus", 2, 4)
    assert seen == [("scoring, focus", 1, 4), ("scoring, focus", 2, 4)]


def test_a_row_without_a_model_is_a_problem_and_the_others_go_on(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composites: Path
):
    folder = CompositeFolder(composites)
    table = np.tile([4.0, 4.0, 2.0, 20.0, 0.2, 0.05, 10.0, 30.0], (4, 1))
    metrics = {"steps": 6, "guard_events": [{"kind": "all_face"}], "train_seconds": 60.0}

    def finish(run: TrainingRun, *_: object) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        version = None if run.name == "pretrained" else f"{run.name}-1"
        (run.folder / "metrics.json").write_text(json.dumps(metrics | {"model_version": version}))

    monkeypatch.setattr(learn_appearance, "MIN_FACES", 2)
    monkeypatch.setattr(runner, "train_model", finish)
    monkeypatch.setattr(
        runner.Ablation,
        "score",
        lambda *_: CompositeScores(folder.rows, np.ones(4, dtype=bool), {("one_pass", "own"): table}),
    )
    result = runner.run_ablation(config, tmp_path / "out")
    assert result["unfinished"] == ["pretrained", "colour-histograms"]
    assert [line for line in result["problems"] if "guard" in line] == [
        "pretrained: a guard ended the training after 6 steps (masks all face); it has no figures"
    ]
    assert result["models"]["pretrained"]["model_version"] is None
    assert result["rows"]["planted"]["figures"]["one_pass"]["occluded"]["outlier_iou"]["value"] == pytest.approx(0.4)
    assert (tmp_path / "out" / "problems.txt").read_text().splitlines() == result["problems"]
