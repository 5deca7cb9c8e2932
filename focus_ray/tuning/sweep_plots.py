"""Plots of a sweep; each function returns None if there is too little to draw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from focus_ray.tracking.plots import ACCENT, MUTED, SECONDARY, TEXT_COLOUR, make_panels
from focus_ray.tuning.objectives import LABELLED, UNLABELLED
from focus_ray.tuning.results import SweepResults, TrialResult, last_common_step
from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.space import Parameter

_COLOURS = "viridis"


def parallel_coordinates(search: SearchConfig, results: SweepResults) -> Figure | None:
    """Draw an axis for each parameter and one for the objective; None with fewer than two scored trials."""
    trials = scored_trials(results)
    if len(trials) < 2:
        return None
    names = list(search.space)
    figure, (axes,) = make_panels(1, max(5.0, 1.6 * (len(names) + 1)), 3.6)
    columns = [_axis_positions(search.space[name], [one.config[name] for one in trials]) for name in names]
    objectives = np.array([one.objective for one in trials], dtype=float)
    columns.append(_normalise(objectives))
    order = np.argsort(_higher_is_better(objectives, results.mode))
    shades = _shades(objectives, results.mode)
    x = np.arange(len(columns))
    for index in order:
        axes.plot(x, [column[index] for column in columns], color=shades[index], linewidth=1.3, alpha=0.85)
    for place in range(len(columns)):
        axes.axvline(place, color="#cbd2d9", linewidth=0.8, zorder=0)
    labels = [*(name.replace(".", "\n", 1) for name in names), f"objective\n{search.objective}"]
    axes.set_xticks(x, labels, fontsize=7)
    ranges = [(parameter.ends()[0], parameter.ends()[-1]) for parameter in search.space.values()]
    ranges.append((objectives.min(), objectives.max()))
    for place, (low, high) in enumerate(ranges):
        axes.text(place, -0.06, _format_short(low), ha="center", va="top", fontsize=7, color=MUTED)
        axes.text(place, 1.04, _format_short(high), ha="center", va="bottom", fontsize=7, color=MUTED)
    axes.set_ylim(-0.16, 1.14)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0, pad=8)
    axes.spines[:].set_visible(False)
    return figure


def objective_vs_parameters(search: SearchConfig, results: SweepResults) -> Figure | None:
    """Draw the objective over each parameter and mark the default; None without scored trials."""
    trials = scored_trials(results)
    if not trials:
        return None
    figure, panels = make_panels(len(search.space))
    for axes, (name, parameter) in zip(panels, search.space.items(), strict=False):
        for status, colour, marker in (("done", ACCENT, "o"), ("pruned", MUTED, "x")):
            chosen = [one for one in trials if one.status == status]
            x = [_number(parameter, one.config[name]) for one in chosen]
            y = [one.objective or 0.0 for one in chosen]
            axes.scatter(x, y, color=colour, marker=marker, s=22, linewidth=1)
        default = results.default.get(name)
        if isinstance(default, int | float) and not isinstance(default, bool) and _is_numeric(parameter):
            axes.axvline(default, color=SECONDARY, linewidth=1, linestyle="--")
        if _is_numeric(parameter) and _is_log(parameter):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        if not _is_numeric(parameter):
            axes.set_xticks(range(len(parameter.ends())), [str(value) for value in parameter.ends()], fontsize=7)
        axes.set_title(name, fontsize=8, loc="left", color=TEXT_COLOUR)
    return figure


def learning_curves(search: SearchConfig, results: SweepResults) -> Figure | None:
    """Draw the objective over steps, a line for each trial, the best in colour; None without evaluations."""
    curves = [(one, points) for one in results.trials if (points := one.curve_of(search.objective))]
    if not curves:
        return None
    figure, (axes,) = make_panels(1, 7.0, 3.2)
    for one, points in curves:
        steps, values = zip(*points, strict=True)
        best = one.id == results.best
        axes.plot(
            steps,
            values,
            color=ACCENT if best else "#9fb3c8",
            linewidth=2.0 if best else 0.9,
            marker="x" if one.status == "pruned" else "o",
            markevery=[-1],
            markersize=4,
            zorder=3 if best else 2,
        )
    axes.set_xlabel("steps", fontsize=8, color=MUTED)
    axes.set_title(search.objective, fontsize=9, loc="left", color=TEXT_COLOUR)
    return figure


def importance_bars(search: SearchConfig, results: SweepResults) -> Figure | None:
    """Draw the importance of each parameter in per cent; None if it is unknown."""
    if not results.importance:
        return None
    names = list(results.importance)[::-1]
    figure, (axes,) = make_panels(1, 6.0, 0.5 + 0.34 * len(names))
    axes.barh(names, [100 * results.importance[name] for name in names], color=ACCENT, height=0.6)
    axes.set_xlabel("%", fontsize=8, color=MUTED)
    axes.tick_params(labelsize=8)
    return figure


def objective_agreement(search: SearchConfig, results: SweepResults) -> Figure | None:
    """Draw each unlabelled objective against each labelled one at the last common step.

    None below three trials, and on photographs, which have no labels.
    """
    step, trials = last_common_step(results.trials)
    if len(trials) < 3 or search.photographs is not None:
        return None
    figure, panels = make_panels(len(UNLABELLED) * len(LABELLED))
    pairs = [(name, other) for name in UNLABELLED for other in LABELLED]
    for axes, (name, other) in zip(panels, pairs, strict=False):
        points = [(figures.get(name), figures.get(other)) for figures in (one.values_at(step) for one in trials)]
        known = [(x, y) for x, y in points if x is not None and y is not None]
        if known:
            axes.scatter(*zip(*known, strict=True), color=ACCENT, s=16)
        value = results.rank_correlation.get(name, {}).get(other)
        correlation = "too few trials" if value is None else f"rank correlation {value:+.2f}"
        axes.set_title(f"{other} over {name}: {correlation}", fontsize=8, loc="left", color=TEXT_COLOUR)
    return figure


def scored_trials(results: SweepResults) -> list[TrialResult]:
    """Return the trials that have an objective."""
    return [one for one in results.trials if one.objective is not None]


def _axis_positions(parameter: Parameter, values: Sequence[Any]) -> np.ndarray:
    """Map values to [0, 1] over the range that is searched."""
    if not _is_numeric(parameter):
        ends = list(parameter.ends())
        return np.array([ends.index(value) for value in values]) / max(1, len(ends) - 1)
    ends = np.array([float(end) for end in parameter.ends()])
    numbers = np.array([float(value) for value in values])
    if _is_log(parameter):
        ends, numbers = np.log(ends), np.log(numbers)
    return (numbers - ends.min()) / (np.ptp(ends) or 1.0)


def _number(parameter: Parameter, value: Any) -> float:
    return float(value) if _is_numeric(parameter) else float(list(parameter.ends()).index(value))


def _is_numeric(parameter: Parameter) -> bool:
    return all(isinstance(end, int | float) and not isinstance(end, bool) for end in parameter.ends())


def _is_log(parameter: Parameter) -> bool:
    """Whether the axis is logarithmic: as a range is sampled, or for listed positive values that span a decade."""
    if parameter.values is None:
        return parameter.log
    numbers = [float(value) for value in parameter.values]
    return min(numbers) > 0 and max(numbers) >= 10 * min(numbers)


def _normalise(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (np.ptp(values) or 1.0)


def _higher_is_better(values: np.ndarray, mode: str) -> np.ndarray:
    return values if mode == "max" else -values


def _shades(values: np.ndarray, mode: str) -> list[Any]:
    from matplotlib import colormaps

    ranks = np.argsort(np.argsort(-_higher_is_better(values, mode)))
    norm = Normalize(0, max(1, len(values) - 1))
    return [colormaps[_COLOURS](0.95 * norm(rank)) for rank in ranks]


def _format_short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
