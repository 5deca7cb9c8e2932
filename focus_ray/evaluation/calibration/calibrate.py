"""Chooses the limits of the quality flags on composites of some persons, and scores the flags on those of others."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.errors import ConfigError, DataError
from focus_ray.evaluation.calibration.cases import KINDS
from focus_ray.evaluation.calibration.limit_choice import choose_limits, score_flags
from focus_ray.evaluation.calibration.scoring import ScoredCases, WrongFit, score_cases
from focus_ray.inference.quality import (
    GEOMETRY_FLAGS,
    LIMIT_RULES,
    MASK_FLAGS,
    QUALITY_FORMAT,
    LimitRule,
    QualityFlag,
    QualityLimits,
    quality_flags,
)
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.model_location import find_model
from focus_ray.numerics.bootstrap import GroupBootstrap, weighted_ratio
from focus_ray.settings import Settings
from focus_ray.storage import atomic, checkpoint

ALL = "all"

RESAMPLES, SEED, LEVEL = 1000, 0, 0.95
"""Number and seed of the bootstrap's drawings, and the share of them inside an interval."""


class CalibrationSettings(Settings):
    """What counts as wrong, and how limits are chosen."""

    wrong: WrongFit = WrongFit()
    least_precision: float = Field(default=0.5, gt=0, lt=1)
    perturbed_share: float = Field(default=0.2, ge=0, lt=1)  # weight of all cases but the detected ones together
    seed: int = Field(default=0, ge=0)  # of the displacements


DEFAULT_CALIBRATION = CalibrationSettings()


def calibrate(
    folder: Path,
    model: Path | None,
    out: Path | None,
    *,
    report: Path | None = None,
    detector: DetectorSpec,
    refine_steps: int | None = None,
    settings: CalibrationSettings = DEFAULT_CALIBRATION,
    store: bool = False,
    progress: Callable[[str, int, int], object] | None = None,
) -> dict[str, Any]:
    """Choose the limits of a model's quality flags, and score the flags.

    Args:
        folder: composites to choose the limits on.
        model: model folder; None: the default model of the package.
        out: file for the limits and figures, in the format of quality.json; None: not written.
        report: composites of other persons to score the flags on; None: `folder` is split by person into two halves.
        detector: detector that locates the faces.
        refine_steps: refinement steps; None: the model's own number.
        settings: what counts as wrong, and how limits are chosen.
        store: whether to write the result into the model folder too, as its quality.json.
        progress: called with "fitting" or "reporting", composites done and composites in all.

    Returns:
        The content of quality.json.

    Raises:
        DataError: a folder is unfinished or damaged, or has too few persons.
        ConfigError: the two folders show a person in common, or the detector cannot be built.
        CheckpointError: the model is damaged.
        StorageError: a file cannot be written.
    """
    composites = CompositeFolder(folder)
    others = None if report is None else CompositeFolder(report)
    _check_persons(composites, others)
    bundle = models.load(model)
    reconstructor = Reconstructor(bundle, detector.build())

    def score(name: str, of: CompositeFolder) -> ScoredCases:
        watch = None if progress is None else partial(progress, name)
        return score_cases(reconstructor, of, refine_steps, settings.seed, watch)

    scored = score("fitting", composites)
    if others is None:
        chosen_on, reported_on = split_by_person(scored)
    else:
        chosen_on, reported_on = scored, score("reporting", others)
    limits = choose_quality_limits(chosen_on, settings)
    result = {
        "format": QUALITY_FORMAT,
        "model_version": bundle.version,
        "limits": limits.model_dump(mode="json"),
        "calibration": {
            "settings": settings.model_dump(mode="json"),
            "detector": detector.info.label,
            "refine_steps": bundle.refine_steps if refine_steps is None else refine_steps,
            "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
            "chosen_on": _describe(chosen_on, limits, settings),
            "reported_on": _describe(reported_on, limits, settings),
        },
    }
    if out is not None:
        atomic.write_file(out, json.dumps(result, indent=1, allow_nan=False) + "\n")
    if store:
        checkpoint.save_quality(model or find_model(None), result)
    return result


def choose_quality_limits(scored: ScoredCases, settings: CalibrationSettings = DEFAULT_CALIBRATION) -> QualityLimits:
    """Choose the limits of the flags that warn of a wrong geometry or mask; the others keep their defaults.

    A measure for which no limit is chosen keeps its default, unless less than `least_precision` of what this flags is
    wrong: then the limit is the most extreme value of a fit that is right.

    Args:
        scored: cases to choose on.
        settings: what counts as wrong, and how limits are chosen.
    """
    weights = case_weights(scored, settings)
    geometry = _choose(scored, GEOMETRY_FLAGS, scored.wrong_geometry(settings.wrong), weights, settings)
    detected = scored.select(scored.detected)
    wrong_mask = detected.wrong_mask(settings.wrong)
    mask = _choose(detected, MASK_FLAGS, wrong_mask, np.ones(len(detected)), settings)
    return QualityLimits(**geometry, **mask)


def case_weights(scored: ScoredCases, settings: CalibrationSettings) -> Float[np.ndarray, " N"]:
    """Return weights of the cases: 1 of detected ones, and of all others together the share in the settings."""
    detected = scored.detected
    others = int((~detected).sum())
    share = settings.perturbed_share
    weight = share / (1 - share) * int(detected.sum()) / others if others else 0.0
    return np.where(detected, 1.0, weight)


def split_by_person(scored: ScoredCases) -> tuple[ScoredCases, ScoredCases]:
    """Split cases into two halves of the persons, by the SHA-256 of their names."""
    ordered = sorted(
        set(scored.persons), key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    )
    first = set(ordered[: (len(ordered) + 1) // 2])
    members = np.array([person in first for person in scored.persons], dtype=bool)
    return scored.select(members), scored.select(~members)


def flag_table(scored: ScoredCases, limits: QualityLimits) -> dict[QualityFlag, Bool[np.ndarray, " N"]]:
    """Return by flag of geometry and mask whether each case has it.

    Args:
        scored: the cases.
        limits: the limits.
    """
    raised = [set(quality_flags(measures, limits)) for measures in scored.measures]
    return {flag: np.array([flag in one for one in raised], dtype=bool) for flag in (*GEOMETRY_FLAGS, *MASK_FLAGS)}


def _check_persons(composites: CompositeFolder, others: CompositeFolder | None) -> None:
    persons = {row.person for row in composites.rows}
    if others is None:
        if len(persons) < 2:
            raise DataError(f"{composites.folder} shows one person; limits are chosen and reported on different ones")
        return
    shared = persons & {row.person for row in others.rows}
    if shared:
        raise ConfigError(
            f"{composites.folder} and {others.folder} show {len(shared)} persons in common; give composites of others"
        )


def _choose(
    scored: ScoredCases,
    flags: Sequence[QualityFlag],
    wrong: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"],
    settings: CalibrationSettings,
) -> dict[str, float | None]:
    """Choose the limits behind some flags."""
    rules = _calibrated_rules(flags)
    signs = [-1.0 if rule.below else 1.0 for rule in rules]
    columns = [sign * scored.values(rule.measure) for sign, rule in zip(signs, rules, strict=True)]
    found = choose_limits(np.stack(columns, axis=1), wrong, weights, settings.least_precision)
    limits: dict[str, float | None] = {}
    for rule, sign, column, limit in zip(rules, signs, columns, found, strict=True):
        default = getattr(QualityLimits(), rule.limit)
        if limit is not None:
            limits[rule.limit] = sign * limit
            continue
        flagged = column > sign * default
        if flagged.any() and score_flags(flagged, wrong, weights).precision < settings.least_precision:
            limits[rule.limit] = sign * float(np.nanmax(column[~wrong]))
        else:
            limits[rule.limit] = default
    return limits


def _calibrated_rules(flags: Sequence[QualityFlag]) -> list[LimitRule]:
    """Return one rule for each limit behind some flags: that of the measure it is chosen by."""
    rules = {rule.limit: rule for rule in reversed(LIMIT_RULES) if rule.flag in flags}
    return list(reversed(rules.values()))


def _describe(scored: ScoredCases, limits: QualityLimits, settings: CalibrationSettings) -> dict[str, Any]:
    """Return numbers of cases, and the figures of the flags."""
    table = flag_table(scored, limits)
    weights = case_weights(scored, settings)
    geometry = np.any([table[flag] for flag in GEOMETRY_FLAGS], axis=0)
    mask = np.any([table[flag] for flag in MASK_FLAGS], axis=0)
    wrong_geometry, wrong_mask = scored.wrong_geometry(settings.wrong), scored.wrong_mask(settings.wrong)
    kinds = {kind: np.array([one == kind for one in scored.kinds], dtype=bool) for kind in KINDS}
    subsets = {ALL: np.ones(len(scored), dtype=bool)} | {name: one for name, one in kinds.items() if one.any()}
    bootstrap = GroupBootstrap(scored.persons, RESAMPLES, SEED, LEVEL)
    return {
        "composites": scored.composites,
        "found": scored.found,
        "persons": len(set(scored.persons)),
        "cases": len(scored),
        "geometry": {
            name: _figures(geometry, wrong_geometry, weights, members, bootstrap) for name, members in subsets.items()
        },
        "mask": _figures(mask, wrong_mask, np.ones(len(scored)), scored.detected, bootstrap),
        "flags": {
            flag: _count_flag(raised & scored.detected, wrong_mask)
            if flag in MASK_FLAGS
            else _count_flag(raised, wrong_geometry)
            for flag, raised in table.items()
        },
    }


def _count_flag(raised: Bool[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"]) -> dict[str, int]:
    return {"flagged": int(raised.sum()), "wrong": int((raised & wrong).sum())}


def _figures(
    flagged: Bool[np.ndarray, " N"],
    wrong: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"],
    among: Bool[np.ndarray, " N"],
    bootstrap: GroupBootstrap,
) -> Mapping[str, Any]:
    """Return counts, and precision, recall and false alarms with their intervals."""
    hit = weights * (flagged & wrong)
    statistics = {
        "precision": weighted_ratio(hit, weights * flagged),
        "recall": weighted_ratio(hit, weights * wrong),
        "false_alarms": weighted_ratio(weights * (flagged & ~wrong), weights * ~wrong),
    }
    counts = {"cases": among, "wrong": among & wrong, "flagged": among & flagged, "hits": among & flagged & wrong}
    return {name: int(members.sum()) for name, members in counts.items()} | {
        name: bootstrap.interval(statistic, among)._asdict() for name, statistic in statistics.items()
    }
