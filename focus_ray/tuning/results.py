"""results.json of a sweep: each trial and its outcome, the best one, and correlations of the objectives."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from focus_ray.evaluation.vertex_error import rank_correlation
from focus_ray.settings import Settings
from focus_ray.tuning.objectives import LABELLED, OBJECTIVES, UNLABELLED
from focus_ray.tuning.space import Value

Status = Literal["done", "pruned", "failed", "nan", "collapsed"]
Candidate = Literal["default", "best"]


class TrialEvaluation(Settings):
    """Evaluation of a trial after `step` steps."""

    step: int
    figures: dict[str, float | None]  # by objective name


class TrialResult(Settings):
    """Result of a finished trial."""

    id: str
    status: Status
    cause: str = ""
    config: dict[str, Value]  # point of the search space
    steps: int = 0
    objective: float | None = None
    f1: float | None = None
    outlier_iou: float | None = None
    vertex_mm: float | None = None
    unlabelled: float | None = None
    planted: float | None = None
    unsteady: float | None = None
    planted_photos: float | None = None
    planted_iou: float | None = None
    false_alarms: float | None = None
    planted_landmark_px: float | None = None
    curve: tuple[TrialEvaluation, ...] = ()

    def values_at(self, step: int) -> dict[str, float | None]:
        """Return the figures after `step` steps; empty if the trial was not evaluated at that step."""
        return next((one.figures for one in self.curve if one.step == step), {})

    def curve_of(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) pairs of the figure `name`; evaluations without it are left out."""
        return [(one.step, value) for one in self.curve if (value := one.figures.get(name)) is not None]


class RetrainedRun(Settings):
    """Figures of a run that was retrained with another seed, for the default or the best point."""

    which: Candidate
    seed: int
    figures: dict[str, float | None]
    cause: str = ""  # error of the guard that ended the run; then there are no figures


class SweepResults(Settings):
    """Result of a finished sweep."""

    objective: str
    mode: Literal["max", "min"]
    trials: tuple[TrialResult, ...]
    best: str | None
    default: dict[str, Any]  # the point of the preset
    rank_correlation: dict[str, dict[str, float | None]]  # by unlabelled objective, then by labelled one
    importance: dict[str, float]
    judged: tuple[RetrainedRun, ...] = ()

    @property
    def best_is_default(self) -> bool:
        """Whether the best trial has the preset's point."""
        return any(one.id == self.best and one.config == self.default for one in self.trials)


def count_by_status(trials: Sequence[TrialResult]) -> dict[str, int]:
    """Count the trials by status."""
    return dict(sorted(Counter(one.status for one in trials).items()))


def best_trial(trials: Sequence[TrialResult], mode: str) -> TrialResult | None:
    """Return the finished trial with the best objective (ties: the smaller id), or None if no trial finished."""
    ended = sorted(
        (one for one in trials if one.status == "done" and one.objective is not None), key=lambda one: one.id
    )
    if not ended:
        return None
    sign = 1 if mode == "min" else -1
    return min(ended, key=lambda one: sign * (one.objective or 0.0))


def last_common_step(trials: Sequence[TrialResult]) -> tuple[int, list[TrialResult]]:
    """Return the last step at which all finished and pruned trials were evaluated, and those trials.

    At other steps, figures of a pruned trial cannot be compared with those of a trial that ran for longer.

    Returns:
        (step, trials that are done or pruned and have evaluations); step 0 if they have no step in common.
    """
    sound = [one for one in trials if one.status in ("done", "pruned") and one.curve]
    steps = [{evaluation.step for evaluation in one.curve} for one in sound]
    return max(set.intersection(*steps), default=0) if steps else 0, sound


def rank_correlations(trials: Sequence[TrialResult]) -> dict[str, dict[str, float | None]]:
    """Compute Spearman's correlation of objectives over trials, at the last step that the trials have in common.

    Returns:
        By unlabelled, then labelled objective; 1 is perfect agreement in direction, None means that fewer than three
        trials have both.
    """
    step, sound = last_common_step(trials)
    found: dict[str, dict[str, float | None]] = {}
    for name in UNLABELLED:
        found[name] = {}
        for other in LABELLED:
            one, two = (
                {trial.id: value for trial in sound if (value := trial.values_at(step).get(figure)) is not None}
                for figure in (name, other)
            )
            value = rank_correlation(one, two).value
            agree = OBJECTIVES[name].mode == OBJECTIVES[other].mode
            found[name][other] = value if value is None or agree else -value
    return found
