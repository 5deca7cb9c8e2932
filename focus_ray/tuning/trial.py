"""A trial: a training run in a folder of its own that reports to Ray Tune at each checkpoint.

trials/ID/         a run folder, as of `focus-ray train`
outcomes/ID.json   how the trial ended, unless it was pruned or killed

In a sweep with photographs the reported figures are those on the judging photographs (tuning.run_scorer).
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from focus_ray.errors import CheckpointError, ConfigError, FocusRayError, MaskCollapse, NonFiniteLoss
from focus_ray.runtime.callbacks import Callback, ResumeHistory
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.settings import Settings
from focus_ray.storage import atomic
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.tracking.mlflow_tracker import MlflowTracker, TrackingSettings
from focus_ray.training import in_process
from focus_ray.tuning.objectives import OBJECTIVES, TuningObjective, finite_or_none, objective_values
from focus_ray.tuning.photographs import PhotographDigests
from focus_ray.tuning.run_scorer import JudgingPictures, RunScorer, copy_scores
from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.space import Point

OBJECTIVE, STEP, ENDING = "objective", "step", "ending"
POINTER = "checkpoint.json"  # content of a checkpoint for Tune: folder and step of the run
Ending = Literal["done", "nan", "collapsed", "failed"]

logger = logging.getLogger(__name__)


class Outcome(Settings):
    """Outcome of a trial that was neither pruned nor killed."""

    status: Ending
    cause: str = ""
    objective: float
    figures: dict[str, float | None] = Field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Data that all trials of a sweep share."""

    search: SearchConfig
    folder: Path  # of the sweep, accessible from every machine that trains
    start: Path | None  # model folder that they begin with, relative to a trial's folder or absolute
    experiment: str
    parent: str | None  # id of the sweep's run in MLflow
    digests: PhotographDigests | None = None  # of the photographs, if the search has any

    @property
    def device(self) -> str:
        return "cuda" if self.search.resources.gpus else "cpu"

    @property
    def trials(self) -> Path:
        return self.folder / "trials"

    @property
    def outcomes(self) -> Path:
        return self.folder / "outcomes"

    @property
    def objective(self) -> TuningObjective:
        return OBJECTIVES[self.search.objective]


def trial(point: Point, plan: Plan) -> None:
    """Run a trial and report its outcome; Ray Tune calls this in a process of its own.

    Args:
        point: values by parameter name.
        plan: plan of the sweep.

    Raises:
        FocusRayError: any error of a run except MaskCollapse and NonFiniteLoss, which are outcomes.
    """
    from ray import tune

    resources = plan.search.resources
    torch.set_num_threads(max(1, int(resources.cpus)))
    if resources.gpus and resources.gpu_gigabytes is not None:
        cap_gpu_memory(resources.gpu_gigabytes)
    name = trial_name(point, tune.get_context().get_trial_id(), plan.search)
    ended = read_outcome(plan, name)
    if ended is None or ended.status == "failed":  # otherwise the process died after writing the outcome
        ended = run_attempt(point, name, plan)
    tune.report(final_report(ended, plan, plan.search.trial_config(point, plan.start).schedule.total_steps))


def run_attempt(point: Point, name: str, plan: Plan) -> Outcome:
    """Run a trial once and write its outcome; the outcome of an earlier attempt is deleted first.

    Args:
        point: values by parameter name.
        name: name of the trial.
        plan: plan of the sweep.

    Raises:
        FocusRayError: the run failed; the outcome says so.
    """
    atomic.remove(plan.outcomes / f"{name}.json")
    folder = plan.trials / name
    try:
        ended = train(point, folder, plan, resume=prepare_resume(point, folder, plan))
    except FocusRayError as error:
        write_outcome(plan, name, Outcome(status="failed", cause=str(error), objective=plan.objective.worst))
        raise
    write_outcome(plan, name, ended)
    return ended


def trial_name(point: Point, trial_id: str, search: SearchConfig) -> str:
    """Return the name of a trial: its id, or with tpe a hash of its point.

    A driver that was killed may lose the trials that it started last and start them anew. Optuna then gives them new
    ids; their points are the same.
    """
    if search.searcher != "tpe":
        return trial_id
    return hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]


def train(point: Point, folder: Path, plan: Plan, *, resume: bool) -> Outcome:
    """Train a trial to its end.

    Args:
        point: values by parameter name.
        folder: run folder of the trial.
        plan: plan of the sweep.
        resume: continue the run in `folder` instead of starting one.

    Returns:
        "done", "collapsed" or "nan" with the objective, which is the worst value for the latter two.
    """
    config = plan.search.trial_config(point, plan.start)
    scorer = build_scorer(folder, plan)
    reporter = TuneReporter(folder, plan, scorer)
    finished = False
    try:
        metrics = in_process.train(
            None if resume else config,
            folder,
            callback=reporter,
            device=plan.device,
        )
        finished = True
    except MaskCollapse as error:
        return Outcome(status="collapsed", cause=str(error), objective=plan.objective.worst)
    except NonFiniteLoss as error:
        return Outcome(status="nan", cause=str(error), objective=plan.objective.worst)
    finally:
        reporter.close(finished=finished)
    figures = objective_values(
        metrics["evaluations"][-1] if scorer is None else scorer.score_model(config.schedule.total_steps)
    )
    value = finite_or_none(figures[plan.search.objective])
    if value is None:
        return Outcome(status="nan", cause="the objective is not finite", objective=plan.objective.worst)
    return Outcome(status="done", objective=value, figures=figures)


def build_scorer(folder: Path, plan: Plan) -> RunScorer | None:
    """Build what scores a trial on the judging photographs of the search; None in a sweep without photographs.

    Args:
        folder: run folder of the trial.
        plan: plan of the sweep.

    Raises:
        DataError: the photographs cannot be used, or are others than when the sweep began.
    """
    search = plan.search
    if search.photographs is None or plan.digests is None:
        return None
    pictures = JudgingPictures(
        search.photographs,
        plan.digests,
        "search",
        search.base_config().model.camera.image_size,
        count=search.heldout.size,
        seed=search.heldout.seed,
    )
    return RunScorer(folder, pictures, plan.device)


class TuneReporter(Callback):
    """Reports an evaluation to Tune once the checkpoint of the same step is complete, and tracks the run in MLflow.

    It does not report the last step: `final_report` does, after the outcome is written.

    Args:
        folder: run folder of the trial.
        plan: plan of the sweep.
        scorer: scores checkpoints on judging photographs; None: the run's own evaluations count.
    """

    def __init__(self, folder: Path, plan: Plan, scorer: RunScorer | None = None) -> None:
        self.scorer = scorer
        self.folder = folder
        self.plan = plan
        self.tracker: MlflowTracker | None = None
        self.entry: dict[str, Any] | None = None
        self.total = 0

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        self.total = total
        if self.tracker is None:
            tags = {"mlflow.parentRunId": self.plan.parent} if self.plan.parent else {}
            tracking = TrackingSettings(experiment=self.plan.experiment, database_run=self.plan.folder)
            self.tracker = MlflowTracker(self.folder, tracking, logger.warning, tags=tags)
            self.tracker.start()

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    def on_save(self, step: int) -> None:
        from ray import tune

        if self.entry is None or self.entry["step"] != step or step == self.total:
            return
        entry = self.entry if self.scorer is None else self.scorer.score_checkpoint(step)
        report = make_report(objective_values(entry), self.plan, step)
        if self.plan.search.scheduler.kind != "pbt":
            tune.report(report)
            return
        with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
            pointer = {"folder": self.folder.name, "step": step}
            (Path(scratch) / POINTER).write_text(json.dumps(pointer))
            tune.report(report, checkpoint=tune.Checkpoint.from_directory(scratch))

    def close(self, *, finished: bool) -> None:
        """Send the remaining records to MLflow; `finished` says that the run reached its end."""
        if self.tracker is not None:
            self.tracker.close(finished=finished)


def make_report(figures: Mapping[str, float | None], plan: Plan, step: int) -> dict[str, Any]:
    """Build a report to Tune; a missing or non-finite objective is replaced by the worst value."""
    value = finite_or_none(figures.get(plan.search.objective))
    return {OBJECTIVE: plan.objective.worst if value is None else value, STEP: step, **figures}


def final_report(outcome: Outcome, plan: Plan, total: int) -> dict[str, Any]:
    """Build the last report of a trial.

    `done` stops Tune from consulting the scheduler, which could prune a trial that has a model already, or make it take
    over from another.

    Args:
        outcome: outcome of the trial.
        plan: plan of the sweep.
        total: steps of a whole trial.
    """
    step = total if outcome.status == "done" else -1
    return make_report(outcome.figures, plan, step) | {ENDING: outcome.status, "done": True}


def prepare_resume(point: Point, folder: Path, plan: Plan) -> bool:
    """Prepare the folder of a trial for a start or a resume.

    In population based training, the checkpoint of another trial is copied into the folder if Tune asks for it.

    Args:
        point: values by parameter name.
        folder: run folder of the trial.
        plan: plan of the sweep.

    Returns:
        Whether the folder holds a run to resume.

    Raises:
        CheckpointError: Tune's checkpoint does not point to a trial of this sweep, or is damaged.
        ConfigError: the folder holds no run that could take over.
    """
    from ray import tune

    checkpoint = tune.get_checkpoint()
    if checkpoint is None or plan.search.scheduler.kind != "pbt":
        return (folder / "config.json").is_file()
    with checkpoint.as_directory() as kept:
        pointer = json.loads((Path(kept) / POINTER).read_bytes())
    recorded, step = Path(pointer["folder"]), pointer["step"]
    donor = plan.trials / recorded.name  # earlier versions stored the full path; the sweep may have been moved
    if recorded.parent.name not in ("", plan.trials.name) or not donor.is_dir() or type(step) is not int:
        raise CheckpointError(f"a checkpoint of Tune points to {recorded}, which is not a trial of this sweep")
    if donor == folder and RunFolder(folder).open()[0] == plan.search.trial_config(point, plan.start):
        return True
    adopt_checkpoint(point, folder, donor, step, plan)
    return True


def adopt_checkpoint(point: Point, folder: Path, donor: Path, step: int, plan: Plan) -> None:
    """Replace the checkpoints of a trial by one of another trial, under the trial's own configuration.

    Args:
        point: values by parameter name, of the trial.
        folder: run folder of the trial.
        donor: run folder whose checkpoint is copied.
        step: step of that checkpoint.
        plan: plan of the sweep.

    Raises:
        CheckpointError: the donor's checkpoint is missing or damaged.
        ConfigError: `folder` holds no run.
    """
    config = plan.search.trial_config(point, plan.start)
    stored = Checkpoints(donor / "checkpoints", keep=config.cadence.keep).load(step)
    own = RunFolder(folder, keep=config.cadence.keep)
    if not own.config_file.is_file():
        raise ConfigError(f"{folder} contains no run that could continue from {donor}")
    state: dict[str, Any] = dict(stored.state)
    state["lineage"] = {**state["lineage"], "config": config.digest}
    state["settings"] = config.model_dump(mode="json")
    for stale in (own.path / "checkpoints", own.history_file.path):  # the donor's checkpoint contains its history
        atomic.remove(stale)
    if plan.digests is not None:
        copy_scores(donor, folder, step)
    own.checkpoints.save(step, state)
    own.write_json(own.config_file.name, config.model_dump(mode="json"))


def cap_gpu_memory(gigabytes: float) -> None:
    """Limit the GPU memory that this process may allocate.

    Args:
        gigabytes: limit in GiB, of GPU 0.

    Raises:
        ConfigError: torch finds no GPU, or the GPU has less memory.
    """
    if not torch.cuda.is_available():
        raise ConfigError("torch finds no GPU in this process; set resources.gpus to 0")
    total = torch.cuda.get_device_properties(0).total_memory
    if gigabytes * 2**30 > total:
        raise ConfigError(
            f"resources.gpu_gigabytes is {gigabytes:g}, but the GPU has {total / 2**30:.0f}; set it lower"
        )
    torch.cuda.set_per_process_memory_fraction(gigabytes * 2**30 / total)


def write_outcome(plan: Plan, name: str, outcome: Outcome) -> None:
    """Write the outcome of a trial atomically.

    Raises:
        StorageError: the disk refuses to write.
    """
    plan.outcomes.mkdir(parents=True, exist_ok=True)
    atomic.write_file(plan.outcomes / f"{name}.json", outcome.model_dump_json(indent=1) + "\n")


def read_outcome(plan: Plan, name: str) -> Outcome | None:
    """Read the outcome of a trial; None if there is no file or it is unreadable."""
    try:
        return Outcome.model_validate_json((plan.outcomes / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
