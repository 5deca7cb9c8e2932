"""HTML report of a sweep: trials side by side, effect of each parameter, learning curves, and the retrained best."""

import json
from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from focus_ray.evaluation import rows
from focus_ray.evaluation.tables import UNKNOWN, format_cell
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.storage import atomic
from focus_ray.tracking.plots import png
from focus_ray.tracking.run_report import png_data_uri, render_page
from focus_ray.tuning import sweep_plots
from focus_ray.tuning.objectives import LABELLED, OBJECTIVES, PHOTOGRAPHS, UNLABELLED
from focus_ray.tuning.results import SweepResults, TrialResult, count_by_status, last_common_step
from focus_ray.tuning.search import SearchConfig

_DIGITS = 4
_PLOTS: dict[str, tuple[str, Callable[[SearchConfig, SweepResults], Figure | None]]] = {
    "parallel": ("Every trial as a line through its values; darker is better", sweep_plots.parallel_coordinates),
    "parameters": ("The objective against each parameter", sweep_plots.objective_vs_parameters),
    "curves": ("Learning curves; those that end early were pruned", sweep_plots.learning_curves),
    "importance": ("Share of the objective's variance that each parameter explains", sweep_plots.importance_bars),
    "agreement": ("Objectives without labels against figures with labels", sweep_plots.objective_agreement),
}


def write_sweep_report(folder: RunFolder, search: SearchConfig, results: SweepResults) -> None:
    """Write report.html and sheets/ of a sweep.

    Raises:
        StorageError: the disk refuses to write.
    """
    drawn = []
    for name, (title, draw) in _PLOTS.items():
        figure = draw(search, results)
        if figure is not None:
            content = png(figure)
            atomic.write_file(folder.sheets_folder / f"{name}.png", content)
            drawn.append((title, png_data_uri(content)))
    step, compared = last_common_step(results.trials)
    html = render_page(
        "sweep.html.jinja",
        name=folder.path.resolve().name,
        facts=sweep_facts(search, results),
        headline=[],
        pictures=drawn,
        judged=judged_table(results),
        stopped=[f"{one.which}, seed {one.seed}: {one.cause}" for one in results.judged if one.cause],
        best_is_default=results.best_is_default,
        correlation=correlation_table(results) if search.photographs is None else [],
        comparison=describe_comparison(search),
        abreast={"step": step, "count": len(compared)},
        influence=influence_table(search, results),
        trials=trial_table(search, results),
        config=json.dumps(search.model_dump(mode="json"), indent=2),
    )
    atomic.write_file(folder.path / "report.html", html)


def sweep_facts(search: SearchConfig, results: SweepResults) -> dict[str, str]:
    """Return the summary of a sweep: objective, trials, rules and best, as texts."""
    return {
        "objective": f"{search.objective}: {OBJECTIVES[search.objective].description}",
        "trials": ", ".join(f"{count} {status}" for status, count in count_by_status(results.trials).items()),
        "rules": f"{search.searcher}, {search.scheduler.kind}",
        "best": results.best or "no trial finished",
    }


def describe_comparison(search: SearchConfig) -> str:
    """Return what best and default are compared on, as a part of a sentence."""
    photographs = search.photographs
    if photographs is None:
        return "faces that the search did not use"
    if photographs.comparison_share:
        return "judging photographs that the search did not use"
    return "the judging photographs of the search, with other occluders, which favours the best"


def format_value(value: Any) -> str:
    """Format a value as text, floats with four digits."""
    if value is None:
        return UNKNOWN
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)


def judged_table(results: SweepResults) -> list[dict[str, Any]]:
    """Return a row for each figure: mean and standard deviation over seeds, of the default and of the best."""
    names = list(dict.fromkeys(name for one in results.judged for name in one.figures))
    lines = []
    for name in names:
        cells = {}
        for which in ("default", "best"):
            values = [
                value for one in results.judged if one.which == which and (value := one.figures.get(name)) is not None
            ]
            spread = stdev(values) if len(values) > 1 else None
            cells[which] = format_cell(rows.MetricValue(mean(values) if values else None, spread), _DIGITS)
        lines.append({"figure": name.replace("_", " "), **cells})
    return lines


def correlation_table(results: SweepResults) -> list[dict[str, Any]]:
    """Return a row for each unlabelled objective: its rank correlations with the labelled ones."""
    return [
        {"name": name, "cells": [format_value(results.rank_correlation.get(name, {}).get(other)) for other in LABELLED]}
        for name in UNLABELLED
    ]


def influence_table(search: SearchConfig, results: SweepResults) -> list[dict[str, Any]]:
    """Return a row for each parameter: values searched, default, best, and share of the variance explained."""
    best = next((one for one in results.trials if one.id == results.best), None)
    return [
        {
            "name": name,
            "searched": ", ".join(format_value(value) for value in parameter.ends())
            if parameter.values is not None
            else f"{format_value(parameter.low)} to {format_value(parameter.high)}{', log' if parameter.log else ''}",
            "default": format_value(results.default.get(name)),
            "best": format_value(best.config[name]) if best is not None else UNKNOWN,
            "importance": f"{100 * results.importance[name]:.0f} %" if name in results.importance else UNKNOWN,
        }
        for name, parameter in search.space.items()
    ]


def trial_table(search: SearchConfig, results: SweepResults) -> dict[str, Any]:
    """Return the columns and a row for each trial: finished trials first, the best objective first."""
    sign = 1 if results.mode == "min" else -1

    def rank(one: TrialResult) -> tuple[bool, float]:
        return (one.status != "done", sign * one.objective if one.objective is not None else float("inf"))

    figures = LABELLED if search.photographs is None else PHOTOGRAPHS
    columns = [*search.space, "steps", "objective", *figures]
    lines = [
        {
            "id": one.id,
            "status": one.status,
            "cause": one.cause,
            "cells": [format_value(one.config.get(name)) for name in search.space]
            + [format_value(getattr(one, name)) for name in ("steps", "objective", *figures)],
        }
        for one in sorted(results.trials, key=rank)
    ]
    return {"columns": columns, "lines": lines}
