"""Plots of a report: loss curves over shaded phases, mask coverage, held-out figures over time."""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from focus_ray.tracking.history import look_up

History = Sequence[Mapping[str, Any]]

PHASE_COLOURS = {
    "warmup": "#fdeccf",
    "init": "#dcefdc",
    "pretrain_seg": "#e9e1f4",
    "em_seg": "#d7e6f7",
    "em_face": "#fae0dd",
}
TEXT_COLOUR, MUTED, ACCENT, SECONDARY = "#1f2933", "#7b8794", "#0f766e", "#b45309"
DPI = 110
COLUMNS = 3
PANEL_INCHES = (3.9, 2.3)
# Inches around the axes of a panel that has tick labels and a title: left, right, bottom, top; and above all panels.
MARGIN_INCHES = (0.62, 0.12, 0.28, 0.28)
LEGEND_INCHES = 0.3
# Largest number of points of a curve, about one for each pixel; share of a curve that smoothing spans.
MAX_POINTS = 1200
SMOOTHING_SHARE = 1 / 50
# A loss that spans more than this factor is drawn on a logarithmic axis.
LOG_RANGE = 20.0


def loss_curves(history: History) -> Figure | None:
    """Draw a panel for each loss symbol over the steps that have it, phases shaded; None if there is no loss."""
    in_order = dict.fromkeys(symbol for line in history for symbol in line["loss"])
    symbols = sorted(in_order, key=lambda symbol: symbol != "total")
    if not symbols:
        return None
    figure, panels = make_fixed_panels(len(symbols))
    spans = phase_spans(history)
    for axes, symbol in zip(panels, symbols, strict=False):
        steps = np.array([line["step"] for line in history if symbol in line["loss"]])
        values = np.array([_number(line["loss"].get(symbol)) for line in history if symbol in line["loss"]])
        _shade(axes, spans)
        _curve(axes, steps, values)
        axes.set_xlim(steps[0], steps[-1] + 1)
        axes.set_title(f"loss.{symbol}", fontsize=9, loc="left", color=TEXT_COLOUR)
    _phase_legend(figure, spans)
    return figure


def mask_coverage(history: History, low: float, high: float) -> Figure | None:
    """Draw the mean mask inside the rendered region over the steps.

    Args:
        history: step records.
        low: smallest mean mask that the guard allows, drawn dashed.
        high: largest mean mask that the guard allows, drawn dashed.

    Returns:
        The figure; None if no step has a mask.
    """
    lines = [line for line in history if line.get("mask_mean") is not None]
    if not lines:
        return None
    figure, (axes,) = make_fixed_panels(1, width=2 * PANEL_INCHES[0])
    _shade(axes, phase_spans(history))
    for limit in (low, high):
        axes.axhline(limit, color=SECONDARY, linewidth=1, linestyle="--")
    _curve(axes, np.array([line["step"] for line in lines]), np.array([_number(line["mask_mean"]) for line in lines]))
    axes.set_xlim(lines[0]["step"], lines[-1]["step"] + 1)
    axes.set_ylim(0, 1.02)
    axes.set_yscale("linear")
    axes.set_title("mean mask inside the rendered region (dashed: limits of the guard)", fontsize=9, loc="left")
    return figure


def figures_over_time(evaluations: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Figure | None:
    """Draw held-out figures over the steps.

    Args:
        evaluations: evaluations of a run.
        names: dotted path in an evaluation to title of a panel.

    Returns:
        The figure; None if no path has two finite values.
    """
    curves = {}
    for path, title in names.items():
        points = [(entry["step"], _number(look_up(entry, path))) for entry in evaluations]
        known = [(step, value) for step, value in points if math.isfinite(value)]
        if len(known) > 1:
            curves[title] = known
    if not curves:
        return None
    figure, panels = make_fixed_panels(len(curves))
    for axes, (title, points) in zip(panels, curves.items(), strict=False):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=ACCENT, linewidth=1.5, marker="o", markersize=3)
        axes.set_title(title, fontsize=9, loc="left", color=TEXT_COLOUR)
    return figure


def phase_spans(history: History) -> list[tuple[str, int, int]]:
    """Return each sequence of steps of one phase as (phase, first step, step after the last)."""
    spans = []
    for phase, lines in groupby(history, key=lambda line: line["phase"]):
        steps = [line["step"] for line in lines]
        spans.append((phase, steps[0], steps[-1] + 1))
    return spans


def png(figure: Figure) -> bytes:
    """Encode the figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Compute the running median, NaN left out.

    Args:
        values: [N].
        window: number of neighbouring values of each median.

    Returns:
        [N], NaN where all values of a window are; `values` itself if the window is smaller than 2 or larger than N.
    """
    if window < 2 or len(values) < window:
        return values
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    medians = np.full(len(values), np.nan)
    some = np.isfinite(windows).any(axis=1)
    medians[some] = np.nanmedian(windows[some], axis=1)
    return medians


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    """Draw raw values in a light colour and their running median over them, with gaps during other phases."""
    stride = max(1, math.ceil(len(steps) / MAX_POINTS))
    steps, values = steps[::stride], values[::stride]
    smooth = running_median(values, round(len(values) * SMOOTHING_SHARE))
    for series, colour, width in ((values, "#9fb3c8", 0.6), (smooth, ACCENT, 1.4)):
        x, y = _with_gaps(steps, series, stride)
        axes.plot(x, y, color=colour, linewidth=width)
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() / finite.min() > LOG_RANGE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # drawing powers of ten as formulas takes as long as the curves
        axes.yaxis.set_minor_locator(NullLocator())


def _with_gaps(steps: np.ndarray, values: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Insert NaN between points that do not follow each other, so that no line joins them."""
    breaks = np.flatnonzero(np.diff(steps) > 2 * stride) + 1
    return np.insert(steps.astype(float), breaks, np.nan), np.insert(values, breaks, np.nan)


def make_panels(
    count: int, width: float = PANEL_INCHES[0], height: float = PANEL_INCHES[1], *, auto_layout: bool = True
) -> tuple[Figure, list[Axes]]:
    """Create a figure with panels.

    Args:
        count: number of panels.
        width: width of a panel, inches.
        height: height of a panel, inches.
        auto_layout: make room for labels of any size.

    Returns:
        (figure, axes of each panel).
    """
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(
        figsize=(width * columns, height * rows + LEGEND_INCHES), layout="constrained" if auto_layout else None
    )
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, colors=MUTED)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def make_fixed_panels(count: int, width: float = PANEL_INCHES[0]) -> tuple[Figure, list[Axes]]:
    """Create panels with fixed room for tick labels and a title; an automatic layout takes as long as all drawing.

    Args:
        count: number of panels.
        width: width of a panel, inches.

    Returns:
        (figure, axes of each panel).
    """
    figure, panels = make_panels(count, width, auto_layout=False)
    left, right, bottom, top = MARGIN_INCHES
    whole_width, whole_height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / whole_width,
        right=1 - right / whole_width,
        bottom=bottom / whole_height,
        top=1 - (top + LEGEND_INCHES) / whole_height,
        wspace=(left + right) / (width - left - right),
        hspace=(bottom + top) / (PANEL_INCHES[1] - bottom - top),
    )
    return figure, panels


def _shade(axes: Axes, spans: Sequence[tuple[str, int, int]]) -> None:
    whole_height = axes.get_xaxis_transform()
    for phase in dict.fromkeys(phase for phase, _, _ in spans):
        ranges = [(start, end - start) for name, start, end in spans if name == phase]
        colour = PHASE_COLOURS.get(phase, "#eeeeee")
        axes.broken_barh(ranges, (0, 1), transform=whole_height, color=colour, linewidth=0)


def _phase_legend(figure: Figure, spans: Sequence[tuple[str, int, int]]) -> None:
    phases = dict.fromkeys(phase for phase, _, _ in spans)
    handles = [Patch(color=PHASE_COLOURS.get(phase, "#eeeeee"), label=phase) for phase in phases]
    figure.legend(handles=handles, loc="upper left", ncols=len(handles), fontsize=8, frameon=False)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
