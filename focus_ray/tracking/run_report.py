"""HTML report of a run, finished or not, in one self-contained file."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from focus_ray.storage import atomic
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.tracking import plots
from focus_ray.tracking.history import look_up, read_history

# Largest number of contact sheets of a report, to limit its size; the first and the last are among them.
MAX_SHEETS = 6

VARIANTS = {
    "mean_face": ("mean face", "no fitting"),
    "all_ones": ("all-ones mask", "the one-pass fit, every rendered pixel labelled as face"),
    "pretrained": ("after initialisation", "one pass, before the EM alternation"),
    "focus": ("FOCUS, one pass", "one pass of the trained model"),
    "refined_all_ones": ("refined, all-ones mask", "a refinement that ignores occlusions"),
    "refined": ("FOCUS, refined", "a few gradient steps for each face, re-estimating the mask"),
    "refined_oracle": ("refined, true mask", "a refinement with a perfect segmentation"),
}
SUBSETS = {
    "all": "All held-out faces",
    "unoccluded": "Unoccluded",
    "occluded": "Occluded",
    "occluded_seen": "Occluded, by occluder families in the training data",
    "occluded_unseen": "Occluded, by occluder families not in the training data",
}
# Figure: title, unit, digits.
FIGURES = {
    "f1": ("F1", "", 3),
    "accuracy": ("accuracy", "", 3),
    "precision": ("precision", "", 3),
    "recall": ("recall", "", 3),
    "outlier_precision": ("outlier precision", "", 3),
    "outlier_recall": ("outlier recall", "", 3),
    "outlier_iou": ("outlier IoU", "", 3),
    "balanced_accuracy": ("balanced accuracy", "", 3),
    "landmark_px": ("landmarks", "px", 2),
    "vertex_mm": ("vertices", "mm", 3),
    "rmse_255": ("RMSE", "of 255", 2),
}
HELDOUT_CURVES = {
    f"heldout.{subset}.{name}": f"{FIGURES[name][0]}, {subset}"
    for name in ("f1", "outlier_iou", "rmse_255")
    for subset in ("unoccluded", "occluded")
}
PHOTO_CURVES = {"photos.landmark_px": "photographs: landmarks, px", "photos.rmse_255": "photographs: colour RMSE"}


@dataclass(frozen=True)
class RunRecord:
    """Content of a run folder, of a finished run or not."""

    name: str
    config: dict[str, Any]
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    evaluations: list[dict[str, Any]]
    sheets: list[tuple[int, Path]]


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html, also of a run that is not finished or was killed, and return its path.

    Raises:
        StorageError: the disk cannot be written to.
    """
    run = read_run(Path(run_dir))
    path = Path(run_dir) / "report.html"
    atomic.write_file(path, render(run))
    return path


def read_run(folder: Path) -> RunRecord:
    """Read the files of a run folder; missing and incomplete ones are left out."""
    metrics = _json(folder / "metrics.json")
    sheets = [(int(path.stem.rpartition("-")[2]), path) for path in sorted(folder.glob("sheets/step-*.png"))]
    return RunRecord(
        name=folder.resolve().name,
        config=_json(folder / "config.json") or {},
        history=read_history(folder / "history.jsonl"),
        metrics=metrics,
        evaluations=read_json_lines(folder / "evaluations.jsonl") or (metrics or {}).get("evaluations", []),
        sheets=sheets,
    )


def render(run: RunRecord) -> str:
    """Render the report of a run as HTML."""
    metrics = run.metrics or {}
    guard = run.config.get("guard", {})
    curves = plots.figures_over_time(run.evaluations, HELDOUT_CURVES | PHOTO_CURVES)
    coverage = plots.mask_coverage(run.history, guard.get("low", 0.0), guard.get("high", 1.0))
    return render_page(
        "report.html.jinja",
        name=run.name,
        run=run,
        metrics=metrics,
        facts=run_summary(run),
        headline=headline_cards(metrics.get("heldout") or {}),
        sheets=[(step, png_data_uri(path.read_bytes())) for step, path in pick_evenly(run.sheets, MAX_SHEETS)],
        tables=tables(metrics.get("heldout") or {}),
        figures=FIGURES,
        loss_curves=_plot(plots.loss_curves(run.history)),
        coverage=_plot(coverage),
        curves=_plot(curves),
        photos_heldout=bool(run.evaluations and look_up(run.evaluations[-1], "photos.heldout")),
        times=time_shares(metrics.get("seconds") or seconds_by_phase(run.history)),
        skipped=sum(bool(line.get("skipped")) for line in run.history),
        config=json.dumps(run.config, indent=2),
    )


def render_page(template: str, **values: Any) -> str:
    """Render a page from a template of this package.

    Args:
        template: file name of the template.
        **values: variables of the template.
    """
    environment = Environment(
        loader=PackageLoader("focus_ray.tracking", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def run_summary(run: RunRecord) -> dict[str, str]:
    """Return the facts at the top of the report: status, preset, seed, model version, training time."""
    last = run.history[-1]["step"] + 1 if run.history else 0
    metrics = run.metrics
    if metrics is None:
        status = f"not finished: {last} steps so far"
    elif metrics.get("model_version") is None:
        status = f"ended by a guard after {metrics['steps']} steps"
    else:
        status = f"complete, {metrics['steps']} steps"
    known = {
        "status": status,
        "preset": run.config.get("preset"),
        "seed": run.config.get("seed"),
        "model": (metrics or {}).get("model_version"),
        "left out": (metrics or {}).get("left_out"),
        "training time": f"{metrics['train_seconds'] / 60:.1f} min" if metrics else None,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def headline_cards(heldout: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the headline figures as cards, each with the figure to compare it with.

    Args:
        heldout: figures of metrics.json by variant and subset.

    Returns:
        Cards with "title", "value" and "other".
    """
    chosen = [
        ("occluded.f1", "F1 of the mask, occluded faces", "focus", "all_ones", "all-ones mask"),
        ("occluded.outlier_iou", "outlier IoU, occluded faces", "focus", "all_ones", "all-ones mask"),
        ("occluded.vertex_mm", "vertex error in mm, occluded faces, refined", "refined", "mean_face", "mean face"),
        ("occluded.rmse_255", "colour RMSE of 255, occluded faces, refined", "refined", "focus", "one pass"),
    ]
    cards = []
    for path, title, variant, other, other_name in chosen:
        name = path.rpartition(".")[2]
        value, compared = look_up(heldout, f"{variant}.{path}"), look_up(heldout, f"{other}.{path}")
        if value is not None and compared is not None:
            digits = FIGURES[name][2]
            cards.append(
                {"title": title, "value": f"{value:.{digits}f}", "other": f"{other_name}: {compared:.{digits}f}"}
            )
    return cards


def tables(heldout: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Build a table for each subset, with a row for each variant and a cell for each figure.

    Args:
        heldout: figures of metrics.json by variant and subset.

    Returns:
        Tables with "title", "n" (number of faces) and "rows".
    """
    found = []
    for subset, title in SUBSETS.items():
        rows = []
        for variant, (label, note) in VARIANTS.items():
            scores = look_up(heldout, f"{variant}.{subset}")
            if scores is not None:
                cells = [_cell(scores.get(name), digits) for name, (_, _, digits) in FIGURES.items()]
                ours = variant in ("focus", "refined")
                rows.append({"label": label, "note": note, "cells": cells, "n": scores.get("n"), "ours": ours})
        if rows:
            found.append({"title": title, "n": rows[-1]["n"], "rows": rows})
    return found


def time_shares(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return seconds and share of each part of a run, the largest first."""
    total = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return [{"name": name, "seconds": value, "share": value / total} for name, value in ordered if value > 0]


def seconds_by_phase(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sum the seconds of the steps of each phase, for a run that has not ended."""
    totals: dict[str, float] = {}
    for line in history:
        totals[line["phase"]] = totals.get(line["phase"], 0.0) + line["seconds"]
    return totals


def pick_evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` of the items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _plot(figure: Figure | None) -> Markup | None:
    return None if figure is None else png_data_uri(plots.png(figure))


def png_data_uri(content: bytes) -> Markup:
    """Encode the content of a PNG file as a data URI."""
    return Markup("data:image/png;base64," + base64.b64encode(content).decode())
