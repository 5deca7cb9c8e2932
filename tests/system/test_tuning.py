"""Sweeps as users start them: a driver that dies, trials that end badly, and what is left in the folder."""

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import yaml

from focus_ray import presets
from focus_ray.config import read_yaml
from focus_ray.tuning.results import SweepResults
from tests.system.runs import CommandRun, TrainingRun, set_options
from tests.tuning.portrait_search import darken, tiny_portrait_search, write_folders

SMOKE = "tune_configs/smoke.yaml"
TRIALS = 4
pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("database")]


class TuningRun(CommandRun):
    """One `focus-ray tune`."""

    COMMAND = ("tune",)
    WORKER = "ray::ImplicitFunc"

    def count_ended(self) -> int:
        """How many trials have."""
        return sum(1 for _ in (self.folder / "outcomes").glob("*.json"))

    def results(self) -> SweepResults:
        return SweepResults.model_validate_json((self.folder / "results.json").read_bytes())


@pytest.fixture(scope="module")
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


def start_tuning(python: str, project_root: Path, folder: Path, environment: dict[str, str], *more: str) -> TuningRun:
    folder.parent.mkdir(exist_ok=True)
    return TuningRun(python, folder, str(project_root / SMOKE), "--out", str(folder), *more, environment=environment)


def runs_in_mlflow(folder: Path) -> Counter[str]:
    """How many runs of each name MLflow has under the sweep's own."""
    with sqlite3.connect(folder.parent / "mlflow.db") as database:
        (parent,) = database.execute("select run_uuid from runs where name = ?", (folder.name,)).fetchone()
        rows = database.execute(
            "select runs.name from runs join tags on runs.run_uuid = tags.run_uuid "
            "where tags.key = 'mlflow.parentRunId' and tags.value = ?",
            (parent,),
        ).fetchall()
    return Counter(name for (name,) in rows)


def objective_by_point(results: SweepResults) -> dict[str, float | None]:
    """Objectives by what the trials tried: their names differ from sweep to sweep."""
    return {json.dumps(one.config, sort_keys=True): one.objective for one in results.trials}


def write_search(project_root: Path, folder: Path) -> Path:
    """One trial after the other over a guard's limit; at one of two values, every mask is a collapse."""
    search = read_yaml(project_root / SMOKE)
    search["concurrent"] = 1
    search["set"]["guard"] = {"action": "stop", "window": 1, "low": 0.0, "high": 0.9999}
    search["space"] = {"guard.low": {"values": [0.0, 0.999]}}
    (folder / "search.yaml").write_text(yaml.safe_dump(search))
    return folder / "search.yaml"


def test_a_driver_that_dies_and_trials_that_collapse_lose_no_trial_and_repeat_none(
    tmp_path, python, project_root, environment
):
    folder, search = tmp_path / "sweep", write_search(project_root, tmp_path)
    killed = TuningRun(python, folder, str(search), "--out", str(folder), environment=environment)
    killed.wait_for(lambda: killed.count_ended() >= 1)
    killed.kill_driver()
    assert not (folder / "results.json").exists()
    again = TuningRun(python, folder, "--resume", str(folder), environment=environment)
    assert again.wait() == 0, again.read_log()
    results = again.results()
    done, collapsed = sorted(results.trials, key=lambda one: one.status == "collapsed")
    assert (done.status, collapsed.status) == ("done", "collapsed")
    assert "the masks collapsed" in collapsed.cause
    assert set(runs_in_mlflow(folder).values()) == {1}
    assert len(runs_in_mlflow(folder)) == 2
    assert results.best == done.id
    assert {(one.which, one.seed) for one in results.judged} == {("default", 1), ("best", 1)}  # which are one run
    assert "Influence of the hyper-parameters" in (folder / "report.html").read_text()
    assert presets.load("embedded", folder / "best.yaml").guard.low == done.config["guard.low"]


@pytest.mark.drill
def test_the_search_of_the_portrait_preset_is_judged_on_other_photographs(
    tmp_path, python, project_root, environment, untrained
):
    folders = write_folders(tmp_path)
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(tiny_portrait_search(project_root, tmp_path, untrained)))
    given = ("--data", folders["train"], "--judge-data", folders["judge"])
    folder = tmp_path / "sweep"
    run = TuningRun(
        python, folder, str(tmp_path / "search.yaml"), *given, "--out", str(folder), environment=environment
    )
    assert run.wait() == 0, run.read_log()
    results = run.results()
    assert [one.status for one in results.trials] == ["done", "done"]
    assert all(one.objective == one.planted_photos == one.curve[-1].figures["planted_photos"] for one in results.trials)
    assert {(one.which, one.seed) for one in results.judged} == {("default", 1), ("best", 1)}
    assert all(one.figures["refined_planted_iou"] is not None for one in results.judged)
    assert presets.load("portrait_em", folder / "best.yaml").em.teacher is not None
    darken(tmp_path / "judge" / "bert.png")
    again = TuningRun(python, folder, "--resume", str(folder), environment=environment)
    assert again.wait() == 2
    assert "other photographs or landmarks (judge)" in again.read_log()


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_a_driver_that_dies_loses_no_trial_and_repeats_none(tmp_path, python, project_root, environment):
    quiet = ("--set", "judging.seeds=[]")
    whole = start_tuning(python, project_root, tmp_path / "one" / "whole", environment)
    assert whole.wait() == 0, whole.read_log()
    killed = start_tuning(python, project_root, tmp_path / "two" / "killed", environment, *quiet)
    killed.wait_for(lambda: killed.count_ended() >= 1)
    killed.kill_driver()
    assert not (killed.folder / "results.json").exists()
    again = TuningRun(python, killed.folder, "--resume", str(killed.folder), environment=environment)
    assert again.wait() == 0, again.read_log()
    results = again.results()
    assert [one.status for one in results.trials] == TRIALS * ["done"]
    assert objective_by_point(results) == objective_by_point(whole.results())
    for folder in (whole.folder, killed.folder):
        assert set(runs_in_mlflow(folder).values()) == {1}
        assert len(runs_in_mlflow(folder)) == TRIALS
    check_sweep_outputs(whole, python, environment)


def check_sweep_outputs(whole: TuningRun, python: str, environment: dict[str, str]) -> None:
    """The page, the judgement, and a configuration that trains."""
    results = whole.results()
    best = next(one for one in results.trials if one.id == results.best)
    assert {(one.which, one.seed) for one in results.judged} == {("default", 1), ("best", 1)}
    assert "Influence of the hyper-parameters" in (whole.folder / "report.html").read_text()
    keys = read_yaml(whole.folder / "best.yaml")
    assert keys["initialise"]["xi"] == best.config["initialise.xi"]
    folder = whole.folder.with_name("trained")
    run = TrainingRun(
        python,
        folder,
        "--config",
        str(whole.folder / "best.yaml"),
        *set_options(["heldout={size: 8, batch_size: 8, refine: false}"]),
        "--local",
        "--out",
        str(folder),
        environment=environment,
    )
    assert run.wait() == 0, run.read_log()


@pytest.mark.drill
def test_trials_that_end_badly_are_recorded_and_the_sweep_goes_on(tmp_path, python, project_root, environment):
    folder = tmp_path / "sweep"
    search = read_yaml(project_root / SMOKE)
    # A guard that takes every mask for a collapse.
    search["set"]["guard"] = {"action": "stop", "window": 1, "low": 0.0, "high": 0.9999}
    search["space"] = {"guard.low": {"values": [0.0, 0.999]}}
    search["judging"] = {"seeds": [], "heldout": {"size": 8, "seed": 2}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    run = TuningRun(python, folder, str(tmp_path / "search.yaml"), "--out", str(folder), environment=environment)
    assert run.wait() == 0, run.read_log()
    by_status = {one.status: one for one in run.results().trials}
    assert "collapsed" in by_status
    assert "the masks collapsed" in by_status["collapsed"].cause
    assert all(one.cause for one in run.results().trials if one.status != "done")


@pytest.mark.drill
def test_population_based_training_takes_over_from_better_trials(tmp_path, python, project_root, environment):
    folder = tmp_path / "sweep"
    search = read_yaml(project_root / SMOKE)
    search |= {"shared": "pretrained", "searcher": "random", "trials": 3, "reports": 4}
    search["space"] = {"alternation.period": {"values": [2, 4, 8]}, "alternation.ratio": {"low": 0.2, "high": 0.8}}
    search["set"]["schedule"] |= {"seg_steps": 4, "face_steps": 4}
    search["scheduler"] = {"kind": "pbt", "grace": 0.25, "interval": 0.25}
    search["judging"] = {"seeds": [], "heldout": {"size": 8, "seed": 2}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    run = TuningRun(python, folder, str(tmp_path / "search.yaml"), "--out", str(folder), environment=environment)
    assert run.wait() == 0, run.read_log()
    results = run.results()
    assert [one.status for one in results.trials] == 3 * ["done"]
    assert len({one.id for one in results.trials}) == 3
    assert {path.stem for path in (folder / "outcomes").glob("*.json")} == {one.id for one in results.trials}
    assert all(one.steps == 16 for one in results.trials)
    assert list((folder / "tune").rglob("pbt_policy_*.txt"))  # what Tune writes when one takes over
    assert all(0.2 <= one.config["alternation.ratio"] <= 0.8 for one in results.trials)
    for one in results.trials:  # the run that a trial ended as is the one that it says
        config = read_yaml(folder / "trials" / one.id / "config.json")
        assert config["schedule"]["seg_steps"] + config["schedule"]["face_steps"] == one.config["alternation.period"]
