"""A trial in this process, Tune stood in for: what it reports, how it ends, and whose checkpoint it takes over."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from focus_ray.errors import CheckpointError, ConfigError, DataError, MaskCollapse, NonFiniteLoss
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.training import in_process
from focus_ray.tuning import trial as trials
from focus_ray.tuning.photographs import compute_digests
from focus_ray.tuning.run_scorer import read_scores
from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.trial import (
    ENDING,
    OBJECTIVE,
    POINTER,
    STEP,
    Outcome,
    Plan,
    cap_gpu_memory,
    prepare_resume,
    read_outcome,
    trial,
    trial_name,
)
from tests.tuning.portrait_search import POINT as PORTRAIT_POINT
from tests.tuning.portrait_search import darken, tiny_portrait_search, write_folders

POINT = {"initialise.xi": 0.05, "em.segmentation.eta_bin": 2.0}


class Tune:
    """Stands in for Ray Tune: whose trial this is, what it reports, which checkpoint it gets."""

    def __init__(self) -> None:
        self.name = "t1"
        self.reports: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.given: dict[str, Any] | None = None

    def get_context(self) -> SimpleNamespace:
        return SimpleNamespace(get_trial_id=lambda: self.name)

    def report(self, metrics: dict[str, Any], checkpoint: dict[str, Any] | None = None) -> None:
        self.reports.append(metrics)
        if checkpoint is not None:
            self.checkpoints.append(checkpoint)

    def get_checkpoint(self) -> Any:
        if self.given is None:
            return None
        given = self.given

        @contextmanager
        def as_directory():
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / POINTER).write_text(json.dumps(given))
                yield folder

        return SimpleNamespace(as_directory=as_directory)

    class Checkpoint:
        @staticmethod
        def from_directory(folder: str) -> dict[str, Any]:
            return json.loads((Path(folder) / POINTER).read_bytes())


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Tune:
    import ray.tune

    stand_in = Tune()
    for name in ("get_context", "report", "get_checkpoint", "Checkpoint"):
        monkeypatch.setattr(ray.tune, name, getattr(stand_in, name))
    return stand_in


@pytest.fixture
def plan(tiny: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setattr(trials, "MlflowTracker", Nobody)
    return Plan(tiny, tmp_path, None, "focus", "parent")


class Nobody:
    def __init__(self, *_: Any, tags: dict[str, str]) -> None:
        assert tags == {"mlflow.parentRunId": "parent"}

    def start(self) -> None: ...

    def close(self, *, finished: bool) -> None: ...


def test_it_reports_and_ends(tune: Tune, plan: Plan):
    trial(POINT, plan)
    total = plan.search.trial_config(POINT, None).schedule.total_steps
    assert [report[STEP] for report in tune.reports] == [7, 14] == [total // 2, total]
    outcome = read_outcome(plan, "t1")
    assert outcome is not None
    assert outcome.status == "done"
    assert outcome.objective == tune.reports[-1][OBJECTIVE] == tune.reports[-1]["unlabelled"]
    assert RunFolder(plan.trials / "t1").model_folder.is_dir()
    assert [report.get("done", False) for report in tune.reports] == [False, True]  # the scheduler is not asked
    trial(POINT, plan)  # its process died after its end: nothing is trained again
    assert tune.reports[2:] == tune.reports[1:2]


def on_photographs(plan: Plan, project_root: Path, untrained, **changes: Any) -> Plan:
    """The plan of the portrait search in miniature."""
    folders = write_folders(plan.folder / "photographs")
    tree = tiny_portrait_search(project_root, plan.folder, untrained) | {"photographs": folders} | changes
    search = SearchConfig.model_validate(tree)
    assert search.photographs is not None
    assert search.start is not None
    digests = compute_digests(search.photographs, 32)
    return Plan(search, plan.folder, Path(search.start), "focus", "parent", digests)


def test_one_on_photographs_reports_the_figures_of_the_judging_ones(
    tune: Tune, plan: Plan, project_root: Path, untrained
):
    plan = on_photographs(plan, project_root, untrained)
    trial(PORTRAIT_POINT, plan)
    assert [report[STEP] for report in tune.reports] == [3, 6]
    scores = read_scores(plan.trials / "t1")
    assert list(scores) == [3, 6]
    outcome = read_outcome(plan, "t1")
    assert outcome is not None
    assert outcome.objective == tune.reports[-1][OBJECTIVE] == scores[6]["planted_photos"]["score"]
    assert tune.reports[0]["planted_iou"] == scores[3]["planted_photos"]["outlier_iou"]
    assert tune.reports[0]["planted"] == scores[3]["unlabelled"]["planted"]
    assert RunFolder(plan.trials / "t1").open()[0].photos == str(plan.folder / "photographs" / "train")
    darken(plan.folder / "photographs" / "judge" / "bert.png")
    tune.name = "t2"
    with pytest.raises(DataError, match="other photographs than when the sweep began"):
        trial(PORTRAIT_POINT, plan)
    assert read_outcome(plan, "t2").status == "failed"  # type: ignore[union-attr]


def test_one_that_takes_over_takes_the_figures_with_it(tune: Tune, plan: Plan, project_root: Path, untrained):
    changes = {"searcher": "random", "scheduler": {"kind": "pbt"}}
    plan = on_photographs(plan, project_root, untrained, **changes)
    for name in ("donor", "taker"):
        tune.name = name
        trial(PORTRAIT_POINT, plan)
    (plan.outcomes / "taker.json").unlink()
    tune.given = {"folder": "donor", "step": 3}
    trial(PORTRAIT_POINT | {"em.segmentation.eta_planted": 40.0}, plan)
    donor, taker = (read_scores(plan.trials / name) for name in ("donor", "taker"))
    assert list(taker) == [3, 6]
    assert taker[3] == donor[3]


def test_its_outcome_is_written_before_its_end_is_told(tune: Tune, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    def report(metrics: dict[str, Any], **_: Any) -> None:
        outcome = read_outcome(plan, "t1")
        assert metrics.get("done", False) == (outcome is not None)

    monkeypatch.setattr("ray.tune.report", report)
    trial(POINT, plan)


def test_one_that_was_killed_goes_on(tune: Tune, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        tune.reports.append({STEP: 7})
        raise Killed

    monkeypatch.setattr("ray.tune.report", die)
    with pytest.raises(Killed):
        trial(POINT, plan)
    monkeypatch.setattr("ray.tune.report", tune.report)
    trial(POINT, plan)
    assert [report[STEP] for report in tune.reports] == [7, 14]
    steps = [line["step"] for line in RunFolder(plan.trials / "t1").history()]
    assert steps == list(range(14))


@pytest.mark.parametrize(
    ("error", "status"), [(MaskCollapse("all face"), "collapsed"), (NonFiniteLoss("no finite loss"), "nan")]
)
def test_what_a_guard_ends_is_recorded(error, status: str, tune: Tune, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(in_process, "train", stop)
    trial(POINT, plan)
    outcome = read_outcome(plan, "t1")
    assert outcome is not None
    assert (outcome.status, outcome.cause, outcome.objective) == (status, str(error), plan.objective.worst)
    trial(POINT, plan)  # its process died after its end
    assert [report[OBJECTIVE] for report in tune.reports] == 2 * [plan.objective.worst]
    assert [(report[STEP], report["done"], report[ENDING]) for report in tune.reports] == 2 * [(-1, True, status)]


def test_what_fails_says_why_and_is_tried_again(tune: Tune, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("no pictures")

    monkeypatch.setattr(in_process, "train", fail)
    with pytest.raises(DataError):
        trial(POINT, plan)
    outcome = read_outcome(plan, "t1")
    assert outcome is not None
    assert (outcome.status, outcome.cause) == ("failed", "no pictures")
    monkeypatch.undo()
    for name in ("get_context", "report", "get_checkpoint", "Checkpoint"):
        monkeypatch.setattr(f"ray.tune.{name}", getattr(tune, name))
    monkeypatch.setattr(trials, "MlflowTracker", Nobody)
    trial(POINT, plan)
    assert read_outcome(plan, "t1").status == "done"  # type: ignore[union-attr]


def test_an_attempt_forgets_how_the_one_before_ended(tune: Tune, plan: Plan, monkeypatch: pytest.MonkeyPatch):
    trials.write_outcome(plan, "t1", Outcome(status="failed", cause="the disk was full", objective=10.0))

    def pruned(*_: Any, **__: Any) -> None:
        assert read_outcome(plan, "t1") is None
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "train", pruned)
    with pytest.raises(KeyboardInterrupt):
        trial(POINT, plan)
    assert read_outcome(plan, "t1") is None


def population(plan: Plan) -> Plan:
    search = plan.search.model_copy(
        update={"scheduler": plan.search.scheduler.model_copy(update={"kind": "pbt"}), "searcher": "random"}
    )
    return Plan(search, plan.folder, None, "focus", "parent")


def test_one_takes_over_from_another(tune: Tune, plan: Plan):
    plan = population(plan)
    tune.name = "donor"
    trial(POINT, plan)
    assert [pointer["step"] for pointer in tune.checkpoints] == [7]
    tune.name = "taker"
    other = POINT | {"em.segmentation.eta_bin": 8.0}
    trial(other, plan)
    (plan.outcomes / "taker.json").unlink()
    tune.given = tune.checkpoints[0]
    changed = POINT | {"em.segmentation.eta_bin": 1.6}
    reports = len(tune.reports)
    trial(changed, plan)
    assert [report[STEP] for report in tune.reports[reports:]] == [14]
    folder = RunFolder(plan.trials / "taker")
    assert folder.open()[0].em.segmentation.eta_bin == 1.6
    assert read_outcome(plan, "taker").status == "done"  # type: ignore[union-attr]
    donor, taker = (RunFolder(plan.trials / name).history() for name in ("donor", "taker"))
    assert [line["step"] for line in taker] == list(range(14))
    assert [line["loss"] for line in taker[:7]] == [line["loss"] for line in donor[:7]]


@pytest.mark.parametrize("told", ["t1", "/old/s/trials/t1"])
def test_a_pointer_leads_to_the_trial_of_a_sweep_that_was_moved(told: str, tune: Tune, plan: Plan, monkeypatch):
    plan = population(plan)
    tune.given = {"folder": told, "step": 7}
    folder = plan.trials / "t1"
    folder.mkdir(parents=True)
    monkeypatch.setattr(RunFolder, "open", lambda self: (plan.search.trial_config(POINT, None), None))
    assert prepare_resume(POINT, folder, plan)


def test_a_pointer_to_elsewhere_is_not_followed(tune: Tune, plan: Plan, tmp_path: Path):
    tune.given = {"folder": str(tmp_path / "elsewhere" / "t0"), "step": 7}
    with pytest.raises(CheckpointError, match="not a trial of this sweep"):
        trial(POINT, population(plan))
    assert "not a trial of this sweep" in read_outcome(plan, "t1").cause  # type: ignore[union-attr]


def test_trials_of_optuna_are_known_by_their_points(tiny: SearchConfig):
    drawn = tiny.model_copy(update={"searcher": "tpe"})
    other = POINT | {"initialise.xi": 0.1}
    assert trial_name(POINT, "a", tiny) == "a"
    assert trial_name(POINT, "a", drawn) == trial_name(dict(reversed(POINT.items())), "b", drawn)
    assert trial_name(POINT, "a", drawn) != trial_name(other, "a", drawn)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_cap_needs_a_gpu():
    with pytest.raises(ConfigError, match="no GPU"):
        cap_gpu_memory(1.0)
