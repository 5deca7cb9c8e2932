"""Runs a sweep: search file to results.json, best.yaml and report.html; the same command continues it.

DIR/
  config.json, run.json   the search, and its name
  start/                  the run that trains the phases which all trials share
  trials/ID/              a run folder for each trial
  outcomes/ID.json        how trials ended
  tune/                   Ray Tune's state for resuming: pickles, so write access to it means running code here
  judged/                 the runs by which default and best are compared
  photographs.json        digests of the photographs, if the search has any
  results.json, best.yaml, report.html, sheets/
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError

from focus_ray.config import nest_value
from focus_ray.errors import ConfigError, GuardStop, Interrupted, StorageError, TrackingError
from focus_ray.evaluation.benchmark.train import TrainingJob, TrainingRun
from focus_ray.model import summarize_error
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.ray_cluster import ClusterSettings, cluster_address, connect_ray
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown, sigterm_as_sigint
from focus_ray.runtime.task_pool import run_tasks
from focus_ray.runtime.tasks import PoolSettings
from focus_ray.storage import atomic
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.tracking.mlflow_sync import MlflowSync, SyncResult
from focus_ray.tracking.mlflow_tracker import TrackingSettings, track, track_quietly
from focus_ray.tuning import alternation, rules
from focus_ray.tuning.importance import parameter_importance
from focus_ray.tuning.objectives import (
    OBJECTIVES,
    finite_or_none,
    objective_values,
    photograph_objective_values,
    refined_objective_values,
)
from focus_ray.tuning.photographs import PhotographDigests, compute_digests, record_digests
from focus_ray.tuning.progress import Listener, TuneProgress, use_listener
from focus_ray.tuning.results import (
    Candidate,
    RetrainedRun,
    SweepResults,
    TrialEvaluation,
    TrialResult,
    best_trial,
    count_by_status,
    rank_correlations,
)
from focus_ray.tuning.run_scorer import JudgingPictures, RunScorer, read_scores
from focus_ray.tuning.search import SearchConfig, TrialResources, deep_merge
from focus_ray.tuning.space import Point
from focus_ray.tuning.sweep_report import write_sweep_report
from focus_ray.tuning.trial import OBJECTIVE, Plan, read_outcome, trial, trial_name

TUNE = "tune"
TUNE_SNAPSHOT_SECONDS = "2"  # interval between the snapshots from which a sweep is resumed
PhaseProgress = Callable[[str, int, int], object]
MessageCallback = Callable[[str], None]


def run_sweep(
    search: SearchConfig,
    out: Path,
    *,
    experiment: str = "focus",
    progress: PhaseProgress = lambda *_: None,
    notify: MessageCallback = lambda _: None,
) -> SweepResults:
    """Run a search in a folder, or continue the one that is there.

    Args:
        search: configuration of the sweep.
        out: folder of the sweep.
        experiment: MLflow experiment.
        progress: called with a label, the steps or trials done, and their total.
        notify: called with messages for the user.

    Returns:
        The content of results.json.

    Raises:
        ConfigError: the search cannot run, or `out` holds another one or one of other photographs; raised before
            anything starts.
        DataError: the photographs cannot be used; raised before anything starts.
        CheckpointError: the search's `start` is not a model folder.
        StorageError: the disk refuses to write.
        ClusterError: the Ray cluster cannot be used.
        GuardStop: a guard ended the training of the shared phases.
        Interrupted: the user stopped the sweep.
    """
    search.check_runnable()
    check_gpus_available(search.resources)
    digests = None
    if search.photographs is not None:
        digests = compute_digests(search.photographs, search.base_config().model.camera.image_size)
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", TUNE_SNAPSHOT_SECONDS)
    resources = search.resources
    cluster = ClusterSettings(workers=search.concurrent, gpu=False, cpus_per_worker=max(1, int(resources.cpus)))
    with acquire_run_dir(out, search, experiment, label="sweep") as folder:
        if digests is not None:
            record_digests(folder, digests)
        with connect_ray(cluster):
            return Sweep(search, folder, progress, notify, digests).run()


def check_gpus_available(resources: TrialResources) -> None:
    """Check that trials would not wait for a GPU forever; a named cluster is not checked, as it may get GPUs later.

    Raises:
        ConfigError: trials need a GPU, no cluster is named and this machine has none.
    """
    if resources.gpus and cluster_address() is None and not torch.cuda.is_available():
        raise ConfigError(
            "torch finds no GPU on this machine; set resources.gpus to 0, or name a cluster with RAY_ADDRESS"
        )


@dataclass
class GuardedTrainingJob:
    """Training job whose tasks return a GuardStop instead of raising it, so that other tasks continue."""

    models: TrainingJob

    def prepare(self, device: str) -> None:
        self.models.prepare(device)

    def piece(self, number: int) -> GuardStop | None:
        """Train the model `number`; return the guard's error if a guard ended it, else None."""
        try:
            self.models.piece(number)
        except GuardStop as stop:
            return stop
        return None


class Sweep:
    """A running sweep.

    Args:
        search: configuration of the sweep.
        folder: folder of the sweep, acquired.
        progress: called with a label, the steps or trials done, and their total.
        notify: called with messages for the user.
        digests: digests of the photographs, if the search has any.
    """

    def __init__(
        self,
        search: SearchConfig,
        folder: RunFolder,
        progress: PhaseProgress,
        notify: MessageCallback,
        digests: PhotographDigests | None = None,
    ) -> None:
        self.digests = digests
        self.search = search
        self.folder = folder
        self.out = folder.path.absolute()
        self.progress = progress
        self.notify = notify

    def run(self) -> SweepResults:
        """Run the sweep to its end and return the content of results.json."""
        start = self.prepare_start_model()
        experiment = self.folder.info().experiment
        plan = Plan(self.search, self.out, start, experiment, self.create_mlflow_run(experiment), self.digests)
        try:
            return self.search_and_judge(plan)
        finally:
            track_quietly(self.out, self.notify)

    def search_and_judge(self, plan: Plan) -> SweepResults:
        """Search, then retrain default and best; the results of the search are written before that."""
        trials = self.run_tune(plan)
        best = best_trial(trials, plan.objective.mode)
        default = self.search.parameters.default_point(self.search.trial_config({}, None))
        results = SweepResults(
            objective=self.search.objective,
            mode=plan.objective.mode,
            trials=tuple(trials),
            best=None if best is None else best.id,
            default=default,
            rank_correlation=rank_correlations(trials),
            importance=parameter_importance(trials, self.search.space, plan.objective.mode),
        )
        self.write_results(results, best)
        if best is not None and self.search.judging.seeds:
            results = results.model_copy(update={"judged": tuple(self.retrain_candidates(best.config, plan.start))})
            self.write_results(results, best)
        return results

    def prepare_start_model(self) -> Path | None:
        """Return the model folder that trials begin with; train it if it does not exist.

        Returns:
            An absolute path for a given `start`; else a path relative to a trial's folder, as the sweep may be moved;
            None if trials share no phases, or the preset has no steps of these.

        Raises:
            GuardStop: a guard ended the training.
        """
        if self.search.start is not None:
            return Path(self.search.start).absolute()
        training = TrainingRun("start", self.out / "start", self.search.shared_config())
        if self.search.shared == "nothing" or not training.config.schedule.total_steps:
            return None
        for stop in self.train([training], "shared phases, steps").values():
            raise stop
        return Path("..", "..", training.folder.name, RunFolder(training.folder).model_folder.name)

    def train(self, trainings: list[TrainingRun], label: str) -> dict[Path, GuardStop]:
        """Train those of the models that are not finished, in parallel.

        Args:
            trainings: all models.
            label: name of the work for the progress display.

        Returns:
            Errors of guards that ended a training, by its folder.
        """
        stops: dict[Path, GuardStop] = {}
        total = sum(one.config.schedule.total_steps for one in trainings)
        settings = PoolSettings(tasks=self.search.concurrent, gpu_share=self.search.resources.gpus)
        with graceful_shutdown() as should_stop:

            def look() -> bool:
                self.progress(label, sum(one.steps_done for one in trainings), total)
                return should_stop()

            waiting = [number for number, one in enumerate(trainings) if not one.done]
            for number, stop in run_tasks(GuardedTrainingJob(TrainingJob(trainings)), waiting, settings, look):
                if stop is not None:
                    stops[trainings[number].folder] = stop
                look()
        return stops

    def create_mlflow_run(self, experiment: str) -> str | None:
        """Create the MLflow run under which trials are nested; return its id, or None if MLflow does not answer."""
        try:
            server = TrackingSettings().server(self.out)
            sync = MlflowSync(self.out, server, experiment, SyncResult())
            sync.begin({}, {"kind": "sweep"}, running=True)
            return sync.result.mlflow_run
        except (TrackingError, StorageError) as error:
            self.notify(f"{error}; trials are not nested under their sweep in MLflow")
            return None

    def run_tune(self, plan: Plan) -> list[TrialResult]:
        """Run the trials that have not ended with Ray Tune.

        Returns:
            The results of all trials, by id.

        Raises:
            Interrupted: the sweep was stopped before all trials ended.
        """
        from ray import tune

        listener = Listener(
            self.progress, self.notify, lambda point, trial_id: trial_name(point, trial_id, self.search)
        )
        with sigterm_as_sigint(), use_listener(listener):
            self.build_tuner(plan).fit()
        self.close_mlflow_runs(plan)
        # From Tune's files: for a trial that took over a checkpoint, `fit` returns the donor's last report and name.
        trials = [self.trial_result(plan, tuned) for tuned in tune.ExperimentAnalysis(str(self.out / TUNE)).trials]
        unfinished = [one for one in trials if one is None]
        if unfinished or len(trials) < self.search.trial_count:
            raise Interrupted(f"stopped; finished work is kept, resume {self.out} to continue")
        return sorted((one for one in trials if one is not None), key=lambda one: one.id)

    def build_tuner(self, plan: Plan) -> Any:
        """Build a Ray Tune tuner, restored from the folder `tune` if that holds a snapshot."""
        from ray import tune

        runs = tune.with_resources(
            tune.with_parameters(trial, plan=plan),
            {"CPU": self.search.resources.cpus, "GPU": self.search.resources.gpus},
        )
        place = self.out / TUNE
        # If Tune was killed before its first snapshot, its folder cannot be restored.
        if tune.Tuner.can_restore(str(place)) and any(place.glob("experiment_state-*.json")):
            return tune.Tuner.restore(str(place), trainable=runs, resume_unfinished=True, resume_errored=False)
        return tune.Tuner(
            runs,
            param_space=rules.param_space(self.search),
            tune_config=tune.TuneConfig(
                metric=OBJECTIVE,
                mode=plan.objective.mode,
                search_alg=rules.build_searcher(plan),
                scheduler=rules.build_scheduler(plan),
                num_samples=1 if self.search.searcher == "grid" else self.search.trials,
                max_concurrent_trials=self.search.concurrent,
                reuse_actors=False,
            ),
            run_config=tune.RunConfig(
                name=TUNE,
                storage_path=str(self.out),
                failure_config=tune.FailureConfig(max_failures=self.search.max_failures),
                callbacks=[TuneProgress(self.search.trial_count)],
                verbose=0,
            ),
        )

    def close_mlflow_runs(self, plan: Plan) -> None:
        """Mark the MLflow runs of trials without a final outcome as finished: Tune kills the process of a pruned trial.

        A trial that is resumed later sets its run to running again.
        """
        try:
            for folder in sorted(file.parent for file in plan.trials.glob("*/run.json")):
                outcome = read_outcome(plan, folder.name)
                if outcome is None or outcome.status == "failed":
                    track(folder, TrackingSettings(plan.experiment, database_run=self.out))
        except (TrackingError, StorageError) as error:
            self.notify(f"{error}; MLflow may still show stopped trials as running")

    def trial_result(self, plan: Plan, tuned: Any) -> TrialResult | None:
        """Build the result of a trial.

        Args:
            plan: plan of the sweep.
            tuned: Ray Tune's `Trial`.

        Returns:
            The result, or None if the trial has not ended.
        """
        if not tuned.is_finished():
            return None
        name = trial_name(tuned.config, tuned.trial_id, self.search)
        outcome = read_outcome(plan, name)
        curve = read_curve(plan.trials / name, photographs=self.digests is not None)
        known = {
            "id": name,
            "config": dict(tuned.config),
            "curve": curve,
            "steps": curve[-1].step if curve else 0,
        }
        if outcome is not None and outcome.status != "failed":
            figures = {label: outcome.figures.get(label) for label in OBJECTIVES}
            objective = outcome.objective if outcome.status == "done" else None
            return TrialResult(status=outcome.status, cause=outcome.cause, objective=objective, **figures, **known)
        if tuned.status == tuned.ERROR:
            error = tuned.get_pickled_error() or tuned.get_error()
            cause = outcome.cause if outcome is not None else " ".join(str(error).split())[-300:]
            return TrialResult(status="failed", cause=cause, **known)
        last = tuned.last_result or {}
        if not last.get("done"):
            return None
        figures = {label: last.get(label) for label in OBJECTIVES}
        return TrialResult(status="pruned", objective=last.get(OBJECTIVE), **figures, **known)

    def retrain_candidates(self, best: Point, start: Path | None) -> list[RetrainedRun]:
        """Train default and best anew with other seeds, and score them on faces that the search did not use.

        If the best point is the default, the same runs count for both.

        Args:
            best: the best point.
            start: model folder that the runs begin with; None: that of the preset, or untrained networks.

        Returns:
            A record for each candidate and seed.
        """
        points: dict[Candidate, Point] = {"default": {}, "best": best}
        trainings: dict[tuple[Candidate, int], TrainingRun] = {}
        for which, point in points.items():
            for seed in self.search.judging.seeds:
                config = self.search.retrain_config(point, start, seed)
                training = TrainingRun(f"{which}, seed {seed}", self.out / "judged" / f"{which}-{seed}", config)
                twin = trainings.get(("default", seed))
                trainings[which, seed] = twin if twin is not None and twin.config == config else training
        distinct = list({one.folder: one for one in trainings.values()}.values())
        stops = self.train(distinct, "retraining default and best, steps")
        figures = self.judged_figures([one for one in distinct if one.folder not in stops])
        return [
            RetrainedRun(which=which, seed=seed, figures={}, cause=str(stops[training.folder]))
            if training.folder in stops
            else RetrainedRun(which=which, seed=seed, figures=figures[training.folder])
            for (which, seed), training in trainings.items()
        ]

    def judged_figures(self, trainings: list[TrainingRun]) -> dict[Path, dict[str, float | None]]:
        """Read the figures of retrained runs; on photographs compute those that are missing, in this process.

        Args:
            trainings: finished runs.

        Returns:
            Figures by the folder of the run.
        """
        search, judging = self.search, self.search.judging
        if search.photographs is None or self.digests is None:
            return {one.folder: read_objective_values(one.folder) for one in trainings}
        pictures = JudgingPictures(
            search.photographs,
            self.digests,
            "comparison",
            search.base_config().model.camera.image_size,
            count=judging.heldout.size,
            seed=judging.heldout.seed,
        )
        figures = {}
        for done, one in enumerate(trainings):
            self.progress("judging photographs, models", done, len(trainings))
            scorer = RunScorer(one.folder, pictures, refine=judging.refine)
            figures[one.folder] = photograph_objective_values(scorer.score_model(one.config.schedule.total_steps))
        return figures

    def write_results(self, results: SweepResults, best: TrialResult | None) -> None:
        """Write results.json, best.yaml, metrics.json and the report."""
        self.folder.write_json("results.json", results.model_dump(mode="json"))
        if best is not None:
            atomic.write_file(self.out / "best.yaml", yaml.safe_dump(self.best_config(best.config), sort_keys=False))
        summary = {"trials": len(results.trials), **count_by_status(results.trials)}
        self.folder.write_json("metrics.json", {"schema": 1, "seed": self.search.seed, "sweep": summary})
        write_sweep_report(self.folder, self.search, results)

    def best_config(self, point: Point) -> dict[str, Any]:
        """Return the keys for `focus-ray train --config`: the preset, the keys set for all trials, and the point."""
        config = self.search.parameters.apply_point(self.search.base_config(), point)
        tree: dict[str, Any] = {"preset": self.search.preset, **self.search.set}
        changed = config.model_dump(mode="json")
        for name in point:
            if name in alternation.PARAMETERS:
                tree["schedule"] = changed["schedule"]
                continue
            for key in self.search.space[name].paths(name):
                tree = deep_merge(tree, nest_value(key, point[name]))
        return tree


def read_curve(folder: Path, *, photographs: bool = False) -> tuple[TrialEvaluation, ...]:
    """Read all evaluations of a run from its folder, in the order of steps; with `photographs` the judging ones.

    Tune's record may lack one: a run killed between a checkpoint and its report is resumed after that checkpoint.
    Evaluations before a take-over are the donor's.
    """
    entries = (
        read_scores(folder)
        if photographs
        else {entry["step"]: entry for entry in read_json_lines(folder / "evaluations.jsonl")}
    )
    return tuple(
        TrialEvaluation(
            step=step, figures={name: finite_or_none(value) for name, value in objective_values(entries[step]).items()}
        )
        for step in sorted(entries)
    )


def read_objective_values(folder: Path) -> dict[str, float | None]:
    """Read the objectives of a finished run, of one forward pass and of refined fits."""
    metrics = json.loads((folder / "metrics.json").read_bytes())
    return objective_values(metrics["evaluations"][-1]) | refined_objective_values(metrics["heldout"])


def load_search(folder: Path) -> SearchConfig:
    """Read the search of a sweep's folder.

    Raises:
        ConfigError: the folder holds no sweep.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise ConfigError(
            f"{folder} is not the folder of a sweep (no config.json); give the folder of an earlier sweep"
        )
    try:
        return SearchConfig.model_validate_json(config.read_bytes())  # JSON, since YAML parses 1e-05 as text
    except ValidationError as error:
        problem = f"{config} is not the configuration of a sweep ({summarize_error(error)})"
        raise ConfigError(f"{problem}; give the folder of an earlier sweep") from None
