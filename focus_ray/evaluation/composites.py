"""Evaluates a model on a folder of composites: figures by family, each with an interval over persons."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder, CompositeRow
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.evaluation.composite_scoring import CompositeScorer, CompositeScores, PictureScores, score_composites
from focus_ray.numerics.bootstrap import (
    GroupBootstrap,
    Interval,
    Statistic,
    weighted_auc,
    weighted_mean,
    weighted_ratio,
)
from focus_ray.storage import atomic

ALL, OPEN, OCCLUDED = "all", "open", "occluded"

RESAMPLES, SEED, LEVEL = 1000, 0, 0.95
"""Number and seed of the bootstrap's drawings, and the share of them inside an interval."""

_PERCENT = 100.0


def evaluate_composites(
    folder: Path,
    model: Path | None,
    out: Path | None = None,
    refine_steps: int = 0,
    progress: Callable[[int, int], object] | None = None,
    detector: DetectorSpec | None = None,
) -> dict[str, Any]:
    """Score a model on composites, and beside its mask those of `composite_scoring`.

    Args:
        folder: folder of composites.
        model: model folder; None: the shipped model.
        out: JSON file for the figures; None: not written.
        refine_steps: refinement steps of the refined variants; 0: without them.
        progress: called with (composites done, composites in all).
        detector: detector that locates the faces; None: the given landmarks do.

    Returns:
        `figures` by pass, mask, subset and metric: value, low, high; `detection` by subset, None without a detector.

    Raises:
        DataError: the folder is unfinished or damaged.
        CheckpointError: the model is damaged.
        ConfigError: the detector cannot be built.
        StorageError: `out` cannot be written.
    """
    composites = CompositeFolder(folder)
    bundle = models.load(model)
    scorer = CompositeScorer(bundle, refine_steps, None if detector is None else detector.build())
    scores = score_composites(scorer, composites, progress)
    persons = [row.person for row in scores.rows]
    bootstrap = GroupBootstrap(persons, RESAMPLES, SEED, LEVEL)
    figures: dict[str, dict[str, Any]] = {}
    for (name, mask), table in scores.scores.items():
        figures.setdefault(name, {})[mask] = _summarise(scores, table, bootstrap)
    result = {
        "folder": str(folder),
        "model_version": bundle.version,
        "composites": len(composites),
        "persons": len(set(persons)),
        "alignment": "landmarks" if detector is None else f"{detector.info.name} {detector.info.version}",
        "refine_steps": refine_steps,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "detection": None if detector is None else _summarise_detection(scores, bootstrap),
        "figures": figures,
    }
    if out is not None:
        atomic.write_file(out, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


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


def _summarise(
    scores: CompositeScores, table: Float[np.ndarray, "N 7"], bootstrap: GroupBootstrap
) -> dict[str, dict[str, Any]]:
    """Figures of one pass and mask by subset."""
    known = np.where(scores.found[:, None], table, 0.0)
    columns = PictureScores(*known.T)
    figures: dict[str, dict[str, Any]] = {}
    for name, members in subsets(scores.rows).items():
        among = members & scores.found
        figures[name] = {"pictures": int(among.sum())}
        for metric, statistic in _statistics(name, columns, scores).items():
            figures[name][metric] = _as_dict(bootstrap.interval(statistic, among))
    return figures


def _statistics(subset: str, scores: PictureScores, all_scores: CompositeScores) -> dict[str, Statistic]:
    """The metrics of a subset, as functions of the weights of the pictures."""
    columns = {name: np.asarray(getattr(scores, name)) for name in PictureScores._fields}
    hit, missed, false = (columns[name] for name in ("true_outlier", "missed_outlier", "false_outlier"))
    visible = false + columns["true_face"]
    false_share = np.divide(false, visible, out=np.full(len(visible), np.nan), where=visible > 0)
    found = {
        "false_alarms": weighted_mean(_PERCENT * false_share),
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


def _summarise_detection(scores: CompositeScores, bootstrap: GroupBootstrap) -> dict[str, dict[str, Any]]:
    """Share of the composites whose face was located, by subset, in percent."""
    found = weighted_mean(_PERCENT * scores.found.astype(np.float64))
    return {
        name: {
            "pictures": int(members.sum()),
            "found": int((members & scores.found).sum()),
            "rate": _as_dict(bootstrap.interval(found, members)),
        }
        for name, members in subsets(scores.rows).items()
    }


def _as_dict(interval: Interval) -> dict[str, float | None]:
    return interval._asdict()
