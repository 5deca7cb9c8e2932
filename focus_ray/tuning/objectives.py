"""What a search wants: one figure of an evaluation, with or without labels, and which way is better."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Direction = Literal["max", "min"]


class Objective(NamedTuple):
    """A figure by its place in an evaluation."""

    figure: str
    mode: Direction
    worst: float  # what a trial gets that broke: a searcher then stays away from there
    says: str


OBJECTIVES: Mapping[str, Objective] = {
    "unlabelled": Objective("unlabelled.unlabelled", "min", 10.0, "how well pictures are explained, without labels"),
    "unsteady": Objective("unlabelled.unsteady", "min", 1.0, "how unlike the masks of a mirrored picture are"),
    "f1": Objective("heldout.occluded.f1", "max", 0.0, "F1 of the visible face, occluded faces"),
    "outlier_iou": Objective("heldout.occluded.outlier_iou", "max", 0.0, "IoU of outliers, occluded faces"),
    "vertex_mm": Objective("heldout.all.vertex_mm", "min", 100.0, "mean vertex error in mm, all faces"),
}
"""Objectives by name. The first two need no annotation of occlusion."""
UNLABELLED = ("unlabelled", "unsteady")
LABELLED = ("f1", "outlier_iou", "vertex_mm")


def figures_of(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """Every objective of an evaluation, by name; None where it does not say."""
    return {name: _number(entry, objective.figure) for name, objective in OBJECTIVES.items()}


def _number(tree: Any, path: str) -> float | None:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return float(tree) if isinstance(tree, int | float) and not isinstance(tree, bool) else None
