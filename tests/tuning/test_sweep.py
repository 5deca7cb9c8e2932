"""What a sweep reads of its folder and of Ray Tune, what it refuses, and how it goes on after a kill."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from focus_ray.errors import ConfigError, Interrupted, MaskCollapse
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.runtime.run_folder import RunFolder, RunInfo
from focus_ray.tracking.mlflow_tracker import TrackingSettings
from focus_ray.training import in_process
from focus_ray.tuning import sweep
from focus_ray.tuning.results import SweepResults
from focus_ray.tuning.search import SearchConfig, TrialResources
from focus_ray.tuning.sweep import Sweep, check_gpus_available, load_search, read_curve
from focus_ray.tuning.trial import Outcome, Plan, write_outcome
from tests.tuning.portrait_search import darken, write_folders


def test_a_curve_has_all_evaluations_of_the_run(tmp_path):
    lines = [
        {"step": 4, "after": "init", "unlabelled": {"unlabelled": 0.3}, "heldout": {"occluded": {"f1": 0.5}}},
        {"step": 8, "after": "em_face", "unlabelled": {"unlabelled": None}},
    ]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 1')
    found = read_curve(tmp_path)
    assert [one.step for one in found] == [4, 8]
    assert (found[0].figures["unlabelled"], found[0].figures["f1"]) == (0.3, 0.5)
    assert found[1].figures["unlabelled"] is None
    assert read_curve(tmp_path / "nothing") == ()


def told(status: str, **last) -> SimpleNamespace:
    return SimpleNamespace(
        trial_id="taker",
        config={"initialise.xi": 0.05},
        status=status,
        ERROR="ERROR",
        last_result=last,
        is_finished=lambda: status in ("TERMINATED", "ERROR"),
        get_pickled_error=lambda: None,
        get_error=lambda: "lost its worker",
    )


@pytest.fixture
def judge(tiny: SearchConfig, tmp_path: Path) -> Sweep:
    search = tiny.model_copy(update={"judging": tiny.judging.model_copy(update={"seeds": (3,)})})
    return Sweep(search, RunFolder(tmp_path), lambda *_: None, lambda _: None)


@pytest.fixture
def plan(judge: Sweep) -> Plan:
    return Plan(judge.search, judge.out, None, "focus", None)


def test_a_trial_is_known_by_its_own_name_and_not_by_its_last_report(judge: Sweep, plan: Plan):
    write_outcome(plan, "donor", Outcome(status="done", objective=0.1))
    write_outcome(plan, "taker", Outcome(status="done", objective=0.2))
    donors = {"trial_id": "donor", "config": {"initialise.xi": 0.1}, "objective": 0.1}
    one = judge.trial_result(plan, told("TERMINATED", **donors))
    assert one is not None
    assert (one.id, one.objective, one.config) == ("taker", 0.2, {"initialise.xi": 0.05})
    assert judge.trial_result(plan, told("PENDING", **donors)) is None


def test_what_an_earlier_attempt_said_does_not_count(judge: Sweep, plan: Plan):
    write_outcome(plan, "taker", Outcome(status="failed", cause="the disk was full", objective=10.0))
    assert judge.trial_result(plan, told("PENDING", objective=0.3)) is None  # it is to be tried again
    pruned = judge.trial_result(plan, told("TERMINATED", objective=0.3, done=True))
    assert pruned is not None
    assert (pruned.status, pruned.cause, pruned.objective) == ("pruned", "", 0.3)
    failed = judge.trial_result(plan, told("ERROR"))
    assert failed is not None
    assert (failed.status, failed.cause) == ("failed", "the disk was full")
    (plan.outcomes / "taker.json").unlink()
    failed = judge.trial_result(plan, told("ERROR"))
    assert failed is not None
    assert failed.cause == "lost its worker"


def test_a_judged_run_that_a_guard_ends_says_so(judge: Sweep, monkeypatch: pytest.MonkeyPatch):
    stop = MaskCollapse("the masks collapsed")
    monkeypatch.setattr(judge, "train", lambda trainings, _: {judge.out / "judged" / "best-3": stop})
    monkeypatch.setattr(sweep, "read_objective_values", lambda folder: {"f1": 0.8})
    judged = judge.retrain_candidates({"em.segmentation.eta_bin": 2.0}, None)
    assert [(one.which, one.figures, one.cause) for one in judged] == [
        ("default", {"f1": 0.8}, ""),
        ("best", {}, "the masks collapsed"),
    ]


def test_trials_begin_with_a_model_relative_to_their_folders(judge: Sweep, monkeypatch: pytest.MonkeyPatch):
    """A sweep that is moved takes its start with it."""
    judge.search = judge.search.model_copy(update={"shared": "warmup"})
    monkeypatch.setattr(judge, "train", lambda trainings, _: {})
    start = judge.prepare_start_model()
    assert start is not None
    for folder in ("trials/t1", "judged/best-3"):
        assert Path(os.path.normpath(judge.out / folder / start)) == judge.out / "start" / "model"


def test_nothing_is_trained_for_phases_without_steps(judge: Sweep, monkeypatch: pytest.MonkeyPatch):
    no_warmup = judge.search.set | {"schedule": judge.search.set["schedule"] | {"warmup_steps": 0}}
    judge.search = judge.search.model_copy(update={"shared": "warmup", "set": no_warmup})
    assert judge.prepare_start_model() is None


def test_other_photographs_end_a_sweep_before_anything_starts(tiny: SearchConfig, tmp_path: Path, monkeypatch):
    search = SearchConfig.model_validate(
        tiny.model_dump() | {"photographs": write_folders(tmp_path), "objective": "planted_photos"}
    )

    @contextmanager
    def connect(_) -> Iterator[None]:
        raise Interrupted("connected")
        yield

    monkeypatch.setattr(sweep, "connect_ray", connect)
    with pytest.raises(Interrupted, match="connected"):
        sweep.run_sweep(search, tmp_path / "sweep")
    darken(tmp_path / "judge" / "bert.png")
    with pytest.raises(ConfigError, match=r"begun with other photographs or landmarks \(judge\)"):
        sweep.run_sweep(load_search(tmp_path / "sweep"), tmp_path / "sweep")


def test_the_curve_of_a_trial_on_photographs_is_that_of_the_judging_ones(tmp_path: Path):
    (tmp_path / "evaluations.jsonl").write_text('{"step": 4, "unlabelled": {"planted": 0.1}}\n')
    (tmp_path / "judging.jsonl").write_text('{"step": 4, "planted_photos": {"score": 0.3, "outlier_iou": 0.4}}\n')
    (point,) = read_curve(tmp_path, photographs=True)
    assert (point.figures["planted_photos"], point.figures["planted_iou"], point.figures["planted"]) == (0.3, 0.4, None)


def test_a_guard_ends_one_training_and_not_the_others(judge: Sweep, monkeypatch: pytest.MonkeyPatch):
    trainings = [TrainingRun(name, judge.out / name, judge.search.base_config()) for name in ("one", "two")]
    stop = MaskCollapse("the masks collapsed")

    begun: list[str] = []

    def train(config, folder: Path, **_) -> None:
        begun.append(folder.name)
        if folder.name == "one":
            raise stop

    def worked_off(job, numbers, settings, look):
        job.prepare("cpu")
        return [(number, job.piece(number)) for number in numbers]

    monkeypatch.setattr(in_process, "train", train)
    monkeypatch.setattr(sweep, "run_tasks", worked_off)
    assert judge.train(trainings, "judging") == {judge.out / "one": stop}
    assert begun == ["one", "two"]


def test_what_was_found_is_written_before_it_is_judged(
    judge: Sweep, plan: Plan, results: SweepResults, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(judge, "run_tune", lambda plan: list(results.trials))
    monkeypatch.setattr(judge, "retrain_candidates", stop)
    with pytest.raises(KeyboardInterrupt):
        judge.search_and_judge(plan)
    written = SweepResults.model_validate_json((judge.out / "results.json").read_bytes())
    assert (written.best, written.judged) == ("t02", ())
    assert (judge.out / "best.yaml").is_file()


def test_mlflow_is_told_of_trials_that_could_not_say_that_they_ended(
    judge: Sweep, plan: Plan, monkeypatch: pytest.MonkeyPatch
):
    for name in ("done", "pruned", "broken"):
        (plan.trials / name).mkdir(parents=True)
        (plan.trials / name / "run.json").touch()
    (plan.trials / "stray").mkdir()
    write_outcome(plan, "done", Outcome(status="done", objective=0.1))
    write_outcome(plan, "broken", Outcome(status="failed", objective=10.0))
    sent: list[tuple[str, TrackingSettings]] = []
    monkeypatch.setattr(sweep, "track", lambda run, tracking: sent.append((run.name, tracking)))
    judge.close_mlflow_runs(plan)
    beside = TrackingSettings("focus", database_run=judge.out)
    assert sent == [("broken", beside), ("pruned", beside)]


def test_a_sweep_goes_on_in_its_own_experiment_and_says_that_it_was_stopped(
    judge: Sweep, monkeypatch: pytest.MonkeyPatch
):
    judge.folder.write_json("run.json", RunInfo(name="sweep", experiment="faces").model_dump())
    plans: list[Plan] = []
    told: list[Path] = []

    def stop(plan: Plan) -> None:
        plans.append(plan)
        raise Interrupted("stopped")

    monkeypatch.setattr(judge, "create_mlflow_run", lambda experiment: f"run in {experiment}")
    monkeypatch.setattr(judge, "search_and_judge", stop)
    monkeypatch.setattr(sweep, "track_quietly", lambda run, note: told.append(run))
    with pytest.raises(Interrupted):
        judge.run()
    assert [(plan.experiment, plan.parent) for plan in plans] == [("faces", "run in faces")]
    assert told == [judge.out]


def test_a_search_with_small_numbers_is_read_back_as_it_was(tiny: SearchConfig, tmp_path: Path):
    search = SearchConfig.model_validate(tiny.model_dump() | {"set": {"optimizers": {"em_face": {"lr": 1e-05}}}})
    RunFolder(tmp_path).write_json("config.json", search.model_dump(mode="json"))
    assert load_search(tmp_path) == search
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not the configuration of a sweep"):
        load_search(tmp_path)


def test_one_that_was_killed_before_tune_took_a_note_begins_anew(judge: Sweep, plan: Plan):
    first = judge.build_tuner(plan)
    assert first is not None
    assert (judge.out / "tune" / "tuner.pkl").is_file()
    again = judge.build_tuner(plan)
    assert not again._local_tuner._is_restored
    (judge.out / "tune" / "experiment_state-2026-01-01_00-00-00.json").write_text("{}")
    assert judge.build_tuner(plan)._local_tuner._is_restored


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_trials_do_not_wait_for_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch):
    wanted = TrialResources(gpus=1)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="no GPU on this machine"):
        check_gpus_available(wanted)
    check_gpus_available(TrialResources())
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    check_gpus_available(wanted)


@pytest.mark.parametrize(("eta", "folders"), [(4.0, ["default-3"]), (2.0, ["default-3", "best-3"])])
def test_a_best_that_is_the_default_is_not_trained_twice(eta, folders, judge: Sweep, monkeypatch):
    search = judge.search
    assert search.parameters.default_point(search.trial_config({}, None))["em.segmentation.eta_bin"] == 4.0
    trained: list[str] = []

    def train(trainings: list[TrainingRun], what: str) -> dict:
        trained.extend(one.folder.name for one in trainings)
        return {}

    monkeypatch.setattr(judge, "train", train)
    monkeypatch.setattr(sweep, "read_objective_values", lambda folder: {"f1": 0.8})
    judged = judge.retrain_candidates({"em.segmentation.eta_bin": eta}, None)
    assert trained == folders
    assert [(one.which, one.seed) for one in judged] == [("default", 3), ("best", 3)]
