"""Results of an ablation: figures of its rows, and the files that show them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.ablation.ablation_rows import ABLATION_ROWS, LABELLED_MODELS, REFERENCE, encoder_steps
from focus_ray.evaluation.ablation.ablation_tables import ablation_tables
from focus_ray.evaluation.ablation.train import run_metrics
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.evaluation.composite_figures import (
    Figures,
    Members,
    subsets,
    summarise,
    summarise_detection,
    summarise_difference,
)
from focus_ray.evaluation.composite_scoring import CompositeScores
from focus_ray.evaluation.composites import LEVEL, RESAMPLES, SEED
from focus_ray.numerics.bootstrap import GroupBootstrap
from focus_ray.storage import atomic
from focus_ray.tracking.run_report import render_page

RESULTS, TABLES, PROBLEMS, REPORT = "ablation.json", "ablation.txt", "problems.txt", "report.html"


def write_results(
    config: AblationConfig,
    out: Path,
    composites: CompositeFolder,
    scores: Mapping[str, CompositeScores],
    trained: Mapping[str, TrainingRun],
    problems: Sequence[str],
) -> dict[str, Any]:
    """Write the results so far: ablation.json, ablation.txt, problems.txt and report.html.

    Args:
        config: configuration of the ablation.
        out: folder of the ablation.
        composites: the composites.
        scores: scores by row.
        trained: finished runs by model.
        problems: a line for each thing that is wrong.

    Returns:
        The content of ablation.json, see `summarise_ablation`.

    Raises:
        StorageError: the disk refuses.
    """
    result = summarise_ablation(config, composites, scores, trained, problems)
    tables = ablation_tables(result)
    atomic.write_file(out / RESULTS, json.dumps(result, indent=1, allow_nan=False) + "\n")
    atomic.write_file(out / TABLES, "\n".join(table.to_text() for table in tables))
    atomic.write_file(out / PROBLEMS, "".join(f"{line}\n" for line in problems))
    html = render_page(
        "evaluation.html.jinja",
        name=out.resolve().name,
        facts={
            "rows": f"{len(scores)} of {len(config.rows)}",
            "composites": str(len(composites)),
            "start model": config.start,
            "seed": str(config.training.seed),
            "missing or wrong": str(len(problems)),
        },
        headline=[],
        tables=tables,
        pictures=[],
        problems=problems,
        config=json.dumps(config.model_dump(mode="json"), indent=2),
    )
    atomic.write_file(out / REPORT, html)
    return result


def summarise_ablation(
    config: AblationConfig,
    composites: CompositeFolder,
    scores: Mapping[str, CompositeScores],
    trained: Mapping[str, TrainingRun],
    problems: Sequence[str],
) -> dict[str, Any]:
    """Compute the figures of all rows so far.

    Args:
        config: configuration of the ablation.
        composites: the composites.
        scores: scores by row.
        trained: finished runs by model.
        problems: a line for each thing that is wrong.

    Returns:
        The content of ablation.json: `rows` by name, with `figures` and `differences` (from the row FOCUS) by pass,
        subset and metric: value, low, high; `models` by name; `unfinished`, rows without figures.
    """
    persons = [row.person for row in composites.rows]
    bootstrap = GroupBootstrap(persons, RESAMPLES, SEED, LEVEL)
    members = subsets(composites.rows)
    # Whether a face is found does not depend on the model.
    located = next(iter(scores.values()), None) if config.detector is not None else None
    reference = scores.get(REFERENCE)
    rows = {
        name: {
            "title": ABLATION_ROWS[name].title,
            "model": ABLATION_ROWS[name].model,
            "mask": ABLATION_ROWS[name].mask,
            "figures": {one: summarise(scored, table, bootstrap, members) for one, table in _by_pass(scored).items()},
            "differences": {} if name == REFERENCE else _differences(scored, reference, bootstrap, members),
        }
        for name, scored in scores.items()
    }
    return {
        "digest": config.digest,
        "photographs": config.training.photos,
        "folder": config.composites,
        "composites": len(composites),
        "persons": len(set(persons)),
        "alignment": config.detector or "landmarks",
        "start": config.start,
        "seed": config.training.seed,
        "refine_steps": config.refine_steps,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "detection": None if located is None else summarise_detection(located, bootstrap, members),
        "models": {name: describe_training(run) for name, run in trained.items()},
        "rows": rows,
        "unfinished": [name for name in config.rows if name not in scores],
        "problems": list(problems),
    }


def describe_training(run: TrainingRun) -> dict[str, Any]:
    """Return steps, time and version of a finished run.

    Args:
        run: run of a model.
    """
    metrics, schedule = run_metrics(run), run.config.schedule
    return {
        "model_version": metrics["model_version"],
        "labels": run.name in LABELLED_MODELS,
        "encoder_steps": encoder_steps(schedule),
        "segmenter_steps": schedule.pretrain_seg_steps + schedule.cycles * schedule.seg_steps,
        "steps": metrics["steps"],
        "guard_events": len(metrics["guard_events"]),
        "train_seconds": metrics["train_seconds"],
    }


def _differences(
    scored: CompositeScores, reference: CompositeScores | None, bootstrap: GroupBootstrap, members: Members
) -> dict[str, Figures]:
    """Figures of a row minus those of the reference, by pass."""
    against = {} if reference is None else _by_pass(reference)
    return {
        name: summarise_difference(scored, table, against[name], bootstrap, members)
        for name, table in _by_pass(scored).items()
        if name in against
    }


def _by_pass(scores: CompositeScores) -> dict[str, Any]:
    """Scores of the row's mask [N, 8] by pass."""
    return {name: table for (name, _), table in scores.scores.items()}
