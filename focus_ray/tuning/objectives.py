"""Objectives of a search: one figure of an evaluation, with or without labels, and its direction."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from focus_ray.tracking.history import look_up

Direction = Literal["max", "min"]


class TuningObjective(NamedTuple):
    """An objective: a figure of an evaluation, by its dotted path."""

    metric_path: str
    mode: Direction
    worst: float  # objective of a trial that was aborted, so that the searcher avoids its point
    description: str


OBJECTIVES: Mapping[str, TuningObjective] = {
    "unlabelled": TuningObjective(
        "unlabelled.unlabelled", "min", 10.0, "reconstruction error plus a price for masked pixels, without labels"
    ),
    "planted": TuningObjective(
        "unlabelled.planted", "max", 0.0, "IoU of masked pixels and occluders planted on faces, without labels"
    ),
    "unsteady": TuningObjective(
        "unlabelled.unsteady", "min", 1.0, "difference of the masks of a picture and its mirror image, without labels"
    ),
    "f1": TuningObjective("heldout.occluded.f1", "max", 0.0, "F1 of the visible face, occluded faces"),
    "outlier_iou": TuningObjective("heldout.occluded.outlier_iou", "max", 0.0, "IoU of outliers, occluded faces"),
    "vertex_mm": TuningObjective("heldout.all.vertex_mm", "min", 100.0, "mean vertex error in mm, all faces"),
    "planted_photos": TuningObjective(
        "planted_photos.score", "max", -1.0, "IoU of outliers less false alarms, occluders planted on photographs"
    ),
    "planted_iou": TuningObjective(
        "planted_photos.outlier_iou", "max", 0.0, "IoU of outliers, occluders planted on photographs"
    ),
    "false_alarms": TuningObjective(
        "planted_photos.false_alarms", "min", 1.0, "share of open faces on photographs that masks exclude"
    ),
    "planted_landmark_px": TuningObjective(
        "planted_photos.landmark_px", "min", 100.0, "landmark error in px at 224, occluders planted on photographs"
    ),
}
"""Objectives by name. The first three and those of PHOTOGRAPHS need no annotation of occlusion."""
UNLABELLED = ("unlabelled", "planted", "unsteady")
LABELLED = ("f1", "outlier_iou", "vertex_mm")
PHOTOGRAPHS = ("planted_photos", "planted_iou", "false_alarms", "planted_landmark_px")
"""Objectives that are measured on judging photographs (tuning.planted_scores)."""


def objective_values(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """Return all objectives of an evaluation by name; None marks a missing figure."""
    return {name: look_up(entry, objective.metric_path) for name, objective in OBJECTIVES.items()}


def finite_or_none(value: float | None) -> float | None:
    """Return the value if it is finite, else None."""
    return None if value is None or not math.isfinite(value) else float(value)


def refined_objective_values(heldout: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the labelled objectives of the refined fits.

    Args:
        heldout: entry `heldout` of metrics.json.

    Returns:
        Figures by "refined_" and the objective's name; empty if the run scored no refined fits.
    """
    refined = {"heldout": heldout["refined"]} if "refined" in heldout else {}
    return {f"refined_{name}": look_up(refined, OBJECTIVES[name].metric_path) for name in LABELLED if refined}


def photograph_objective_values(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a model on judging photographs.

    Args:
        entry: line of judging.jsonl (tuning.run_scorer).

    Returns:
        Figures by the objective's name, those of refined fits, if there are any, by "refined_" and that name.
    """
    names = (*PHOTOGRAPHS, *UNLABELLED)
    refined = {f"refined_{name}": look_up(entry, f"refined_{OBJECTIVES[name].metric_path}") for name in PHOTOGRAPHS}
    return {name: look_up(entry, OBJECTIVES[name].metric_path) for name in names} | (
        refined if "refined_planted_photos" in entry else {}
    )
