"""Figures of subsets of composites, each with an interval over persons."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.numerics.bootstrap import (
    GroupBootstrap,
    Interval,
    Statistic,
    weighted_auc,
    weighted_mean,
    weighted_ratio,
)

ALL, OPEN, OCCLUDED = "all", "open", "occluded"

Members = Mapping[str, Bool[np.ndarray, " N"]]
"""By the name of a subset: whether each composite belongs to it."""

Figures = dict[str, dict[str, Any]]
"""By subset and metric: value, low and high; and the number of pictures."""

_PERCENT = 100.0


def subsets(rows: list[CompositeRow]) -> dict[str, Bool[np.ndarray, " N"]]:
    """Assign composites to subsets.

    Args:
        rows: the composites.

    Returns:
        By subset, whether each composite belongs to it: all, open, occluded, occluded_seen, occluded_unseen, and each
        family; without empty subsets.
    """
    is_open = np.array([row.is_open for row in rows])
    found = {ALL: np.ones(len(rows), dtype=bool), OPEN: is_open, OCCLUDED: ~is_open}
    for training in ("seen", "unseen"):
        found[f"{OCCLUDED}_{training}"] = np.array([row.training == training for row in rows])
    for family in sorted({row.family for row in rows if not row.is_open}):
        found[family] = np.array([row.family == family for row in rows])
    return {name: members for name, members in found.items() if members.any()}


def summarise(
    scores: CompositeScores,
    table: Float[np.ndarray, "N 8"],
    bootstrap: GroupBootstrap,
    members: Members,
    photo_tones: Float[np.ndarray, " N"] | None = None,
    group: Bool[np.ndarray, " N"] | None = None,
) -> Figures:
    """Compute the figures of one pass and mask.

    Args:
        scores: the composites, and which faces were found.
        table: their PictureScores.
        bootstrap: draws the persons of the composites.
        members: the subsets; those named open have no outliers, those named all have the AUC too.
        photo_tones: angle of the photograph's skin, degrees; NaN: unknown; None: the albedo is not compared with it.
        group: some of the composites; the figures are the differences between those and the others; None: no
            differences.
    """
    known = np.where(scores.found[:, None], table, 0.0)
    columns = PictureScores(*known.T)
    figures: Figures = {}
    for name, subset in members.items():
        among = subset & scores.found
        figures[name] = {"pictures": int(among.sum())}
        statistics = _statistics(name, columns, scores)
        if photo_tones is not None:
            difference = np.asarray(columns.albedo_tone) - photo_tones
            statistics |= {"tone_error": weighted_mean(abs(difference)), "tone_difference": weighted_mean(difference)}
        for metric, statistic in statistics.items():
            if group is None:
                interval = bootstrap.interval(statistic, among)
            else:
                interval = bootstrap.difference(statistic, among & group, among & ~group)
            figures[name][metric] = as_dict(interval)
    return figures


def summarise_difference(
    scores: CompositeScores,
    table: Float[np.ndarray, "N 8"],
    reference: Float[np.ndarray, "N 8"],
    bootstrap: GroupBootstrap,
    members: Members,
) -> Figures:
    """Compute the differences between two methods on the same composites; the intervals are of paired differences.

    Args:
        scores: the composites, and which faces were found.
        table: PictureScores of the one method.
        reference: PictureScores of the other one.
        bootstrap: draws the persons of the composites.
        members: the subsets, see `summarise`.

    Returns:
        Figures of the one method minus those of the other.
    """
    both = [PictureScores(*np.where(scores.found[:, None], one, 0.0).T) for one in (table, reference)]
    figures: Figures = {}
    for name, subset in members.items():
        among = subset & scores.found
        figures[name] = {"pictures": int(among.sum())}
        first, second = (_statistics(name, columns, scores) for columns in both)
        for metric, statistic in first.items():
            other = second[metric]
            interval = bootstrap.interval(lambda weights, a=statistic, b=other: a(weights) - b(weights), among)
            figures[name][metric] = as_dict(interval)
    return figures


def summarise_detection(scores: CompositeScores, bootstrap: GroupBootstrap, members: Members) -> Figures:
    """Compute the share of the composites whose face was located, by subset, in percent.

    Args:
        scores: the composites, and which faces were found.
        bootstrap: draws the persons of the composites.
        members: the subsets.
    """
    found = weighted_mean(_PERCENT * scores.found.astype(np.float64))
    return {
        name: {
            "pictures": int(subset.sum()),
            "found": int((subset & scores.found).sum()),
            "rate": as_dict(bootstrap.interval(found, subset)),
        }
        for name, subset in members.items()
    }


def false_alarms(scores: PictureScores) -> Float[np.ndarray, " N"]:
    """Return the share of the visible face that the mask removes, percent; NaN if nothing is visible.

    Args:
        scores: columns of scores.
    """
    false = np.asarray(scores.false_outlier)
    visible = false + np.asarray(scores.true_face)
    share = np.divide(false, visible, out=np.full(len(visible), np.nan), where=visible > 0)
    return _PERCENT * share


def as_dict(interval: Interval) -> dict[str, float | None]:
    """Return value, low and high by name."""
    return interval._asdict()


def _statistics(subset: str, scores: PictureScores, all_scores: CompositeScores) -> dict[str, Statistic]:
    """The metrics of a subset, as functions of the weights of the pictures."""
    columns = {name: np.asarray(getattr(scores, name)) for name in PictureScores._fields}
    hit, missed, false = (columns[name] for name in ("true_outlier", "missed_outlier", "false_outlier"))
    found = {
        "false_alarms": weighted_mean(false_alarms(scores)),
        "nme": weighted_mean(_PERCENT * columns["nme"]),
        "rmse_255": weighted_mean(columns["rmse_255"]),
    }
    if subset == OPEN:
        return found
    if subset == ALL:
        is_occluded = np.array([not row.is_open for row in all_scores.rows])
        found["occlusion_auc"] = weighted_auc(columns["occlusion"], is_occluded)
    return found | {
        "outlier_iou": weighted_ratio(hit, hit + missed + false),
        "outlier_recall": weighted_ratio(hit, hit + missed),
        "outlier_precision": weighted_ratio(hit, hit + false),
    }
