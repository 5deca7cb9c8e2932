"""Trials of a sweep that nobody ran, and a search in miniature."""

import math
from collections.abc import Iterator

import pytest

from focus_ray.tuning.results import RetrainedRun, SweepResults, TrialEvaluation, TrialResult
from focus_ray.tuning.search import SearchConfig
from tests.conftest import quick_runs

TINY = {
    "preset": "embedded",
    "set": {
        "batch_size": 4,
        "model": {"camera": {"image_size": 32}},
        "data": {"size": 16},
        "schedule": {
            "warmup_steps": 2,
            "init_steps": 2,
            "pretrain_seg_steps": 2,
            "cycles": 2,
            "seg_steps": 2,
            "face_steps": 2,
        },
        "warmup": {"batch_size": 4},
        "em": {"refined_comparison": None},
    },
    "shared": "nothing",
    "space": {"initialise.xi": {"values": [0.05, 0.1]}, "em.segmentation.eta_bin": {"low": 1, "high": 16, "log": True}},
    "reports": 2,
    "heldout": {"size": 4, "seed": 1},
    "objective": "unlabelled",
    "judging": {"seeds": [], "heldout": {"size": 4, "seed": 2}},
}


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Many whole runs are trained here."""
    with quick_runs():
        yield


@pytest.fixture
def tiny() -> SearchConfig:
    return SearchConfig.model_validate(TINY)


def trials_of(count: int) -> list[TrialResult]:
    """Trials whose objective is led by eta_bin, best at 4."""
    found = []
    for number in range(count):
        eta = 1.0 + 15 * number / max(1, count - 1)
        objective = 0.1 + 0.05 * math.log(eta / 4) ** 2
        figures = {"planted": 0.3, "unsteady": 0.1, "f1": 1 - objective, "outlier_iou": 0.5, "vertex_mm": 2 + objective}
        found.append(
            TrialResult(
                id=f"t{number:02}",
                status="done",
                config={"initialise.xi": (0.05, 0.1)[number % 2], "em.segmentation.eta_bin": eta},
                steps=14,
                objective=objective,
                unlabelled=objective,
                **figures,
                curve=(
                    TrialEvaluation(step=7, figures={"unlabelled": objective + 0.1, **figures}),
                    TrialEvaluation(step=14, figures={"unlabelled": objective, **figures}),
                ),
            )
        )
    return found


@pytest.fixture
def results() -> SweepResults:
    trials = trials_of(6)
    trials[1] = trials[1].model_copy(update={"status": "pruned", "curve": trials[1].curve[:1]})
    trials[5] = trials[5].model_copy(update={"status": "nan", "cause": "no finite loss", "objective": None})
    return SweepResults(
        objective="unlabelled",
        mode="min",
        trials=tuple(trials),
        best="t02",
        default={"initialise.xi": 0.1, "em.segmentation.eta_bin": 4.0},
        rank_correlation={"unlabelled": {"f1": 1.0, "outlier_iou": None, "vertex_mm": 1.0}, "unsteady": {}},
        importance={"em.segmentation.eta_bin": 0.9, "initialise.xi": 0.1},
        judged=tuple(
            RetrainedRun(which=which, seed=seed, figures={"f1": 0.8 + 0.01 * seed, "refined_f1": None})
            for which in ("default", "best")
            for seed in (1, 2)
        ),
    )
