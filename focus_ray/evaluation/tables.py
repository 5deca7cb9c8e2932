"""Tables of the paper with published and our figures, as Markdown, LaTeX and JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from focus_ray.evaluation import published
from focus_ray.evaluation.rows import MetricValue, ResultRow

# Published methods and our reimplementations, which follow them in the tables.
REIMPLEMENTATIONS = {"Deep3D": "Deep3D-style", "Egger et al.": "Egger-style"}
REFINED_SUFFIX = ", refined"  # suffix of a method whose fits were refined
ALL_ONES_SUFFIX = ", all-ones mask"  # suffix of the same fits with an all-ones mask; not in the paper
FOCUS_PREFIX = "FOCUS,"  # prefix of the methods that are also shown with an all-ones mask
PAPER, ONE_PASS, REFINED_PASS = "paper", "ours, one pass", "ours, refined"
UNKNOWN = "–"
PARTIAL_MARK = "*"  # suffix of a figure: part of its data set or predictions is missing


@dataclass(frozen=True)
class Column:
    """Column of a table: its title, and the rows of results.json that it shows."""

    title: str
    table: str
    dataset: str
    subset: str
    metric: str
    digits: int = 2


@dataclass(frozen=True)
class TableRow:
    """Line of a table."""

    method: str
    source: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Table with formatted cells, ready to print."""

    name: str
    caption: str
    columns: tuple[str, ...]
    lines: tuple[TableRow, ...]

    def to_markdown(self) -> str:
        """Return the table as Markdown for GitHub."""
        header = ["method", "", *self.columns]
        body = [[line.method, line.source, *line.cells] for line in self.lines]
        rows = [header, ["---"] * 2 + ["---:"] * len(self.columns), *body]
        return f"**{self.caption}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"

    def to_text(self) -> str:
        """Return the table as text with aligned columns, for a terminal."""
        body = [[line.method, line.source, *line.cells] for line in self.lines]
        rows = [["", "", *self.columns], *body]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if number < 2 else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self.caption, *lines]) + "\n"

    def to_latex(self) -> str:
        """Return the table as a floating LaTeX table; needs booktabs."""
        body = [[line.method, line.source, *line.cells] for line in self.lines]
        lines = [" & ".join(map(_escape_latex, row)) + r" \\" for row in [["", "", *self.columns], *body]]
        tabular = [rf"\begin{{tabular}}{{ll{'r' * len(self.columns)}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
        tabular += [r"\bottomrule", r"\end{tabular}"]
        return (
            "\n".join([r"\begin{table}", rf"\caption{{{_escape_latex(self.caption)}}}", *tabular, r"\end{table}"])
            + "\n"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain values."""
        lines = [{"method": line.method, "source": line.source, "cells": list(line.cells)} for line in self.lines]
        return {"name": self.name, "caption": self.caption, "columns": list(self.columns), "lines": lines}


_UN, _OCC, _ALL = "unoccluded", "occluded", "overall"
_AR_SUBSETS = {"neutral": "AR neutral", "glasses": "AR glasses", "scarf": "AR scarf"}
_MASK_METRICS = {"accuracy": "ACC", "ppv": "PPV", "tpr": "TPR", "f1": "F1"}
_NOW_METRICS = ("median", "mean", "std")


def _mask_columns() -> tuple[Column, ...]:
    return tuple(
        Column(f"{title} {short}", "segmentation", "ar", subset, metric)
        for subset, title in _AR_SUBSETS.items()
        for metric, short in _MASK_METRICS.items()
    )


def _now_columns(subset: str, title: str) -> tuple[Column, ...]:
    return tuple(Column(f"{title} {metric}", "now", "now", subset, metric) for metric in _NOW_METRICS)


@dataclass(frozen=True)
class TableSpec:
    """Table of the paper: its title, columns and published figures."""

    name: str
    title: str
    columns: tuple[Column, ...]
    published: Mapping[str, Sequence[MetricValue | float]]


TABLE_SPECS = (
    TableSpec(
        "table-1",
        "Table 1. Colour error inside the visible face (RMSE, 0 to 255)",
        (
            Column("CelebA-HQ unoccluded", "photometric", "celebahq", _UN, "rmse_255"),
            Column("CelebA-HQ occluded", "photometric", "celebahq", _OCC, "rmse_255"),
            Column("CelebA-HQ overall", "photometric", "celebahq", _ALL, "rmse_255"),
            Column("AR overall", "photometric", "ar", _ALL, "rmse_255"),
        ),
        published.TABLE_1,
    ),
    TableSpec(
        "table-2",
        "Table 2. NoW, all pictures: scan-to-mesh distance, mm (the paper: test set)",
        _now_columns(_ALL, "NoW"),
        published.TABLE_2,
    ),
    TableSpec(
        "table-3",
        "Table 3. NoW, pairs of comparable pose: scan-to-mesh distance, mm",
        _now_columns("pairs_unoccluded", "unoccluded") + _now_columns("pairs_occluded", "occluded"),
        published.TABLE_3,
    ),
    TableSpec(
        "table-4", "Table 4. Outlier segmentation inside the rendered region", _mask_columns(), published.TABLE_4
    ),
    TableSpec(
        "table-5",
        "Table 5. Ablation: outlier segmentation, and scan-to-mesh distance in mm",
        _mask_columns() + _now_columns(_ALL, "NoW"),
        {
            name: (*published.TABLE_5.get(name, (MetricValue(None),) * 12), *published.TABLE_5_NOW[name])
            for name in published.TABLE_5_NOW
        },
    ),
)


def build_tables(rows: Iterable[ResultRow], note: str) -> list[Table]:
    """Build all tables of the paper from the available rows.

    Args:
        rows: rows of results.json.
        note: end of every caption: the data that our figures were measured on.
    """
    known = list(rows)
    return [build_table(spec, known, note) for spec in TABLE_SPECS]


def build_table(spec: TableSpec, rows: Sequence[ResultRow], note: str) -> Table:
    """Build one table: for each method of the paper the published figures, then ours; then all other methods.

    Args:
        spec: table to build.
        rows: rows of results.json.
        note: end of the caption.
    """
    lines: list[TableRow] = []
    wanted = {(column.table, column.dataset, column.subset, column.metric) for column in spec.columns}
    shown = [row for row in rows if (row.table, row.dataset, row.subset, row.metric) in wanted]
    measured = [row for row in shown if ALL_ONES_SUFFIX not in row.method]
    for method in _order_methods(spec, [row.method.removesuffix(REFINED_SUFFIX) for row in measured]):
        if method in spec.published:
            cells = zip(spec.columns, spec.published[method], strict=True)
            lines.append(
                TableRow(
                    method, PAPER, tuple(format_cell(_as_metric_value(one), column.digits) for column, one in cells)
                )
            )
        for suffix, source in (("", ONE_PASS), (REFINED_SUFFIX, REFINED_PASS)):
            own = [row for row in measured if row.method == method + suffix]
            if own:
                seeds = len({row.seed for row in own if row.seed is not None})
                trained = f", {seeds} seeds" if seeds > 1 else ""
                lines.append(
                    TableRow(method, source + trained, tuple(_format_measured(own, column) for column in spec.columns))
                )
    partial = (
        f" {PARTIAL_MARK}: partial (data or predictions are missing)." if any(row.partial for row in measured) else ""
    )
    caption = f"{spec.title}. Paper: {published.SOURCE}. {note}{partial}"
    return Table(spec.name, caption, tuple(column.title for column in spec.columns), tuple(lines))


def _order_methods(spec: TableSpec, measured: Sequence[str]) -> list[str]:
    """Return the paper's methods in its order, each followed by our version of it, then all others."""
    printed = [name for method in spec.published for name in (method, REIMPLEMENTATIONS.get(method, method))]
    return list(dict.fromkeys([*printed, *measured]))


_SPREAD_COLUMNS = (
    Column("F1, occluded", "segmentation", "celebahq", _OCC, "f1", 3),
    Column("outlier IoU, occluded", "segmentation", "celebahq", _OCC, "outlier_iou", 3),
    Column("RMSE, occluded", "photometric", "celebahq", _OCC, "rmse_255"),
    Column("vertices un. mm", "exact", "now", _UN, "vertex_mm", 3),
    Column("vertices occ. mm", "exact", "now", _OCC, "vertex_mm", 3),
    Column("gap mm", "exact", "now", "gap", "vertex_mm", 3),
)


def seed_table(rows: Iterable[ResultRow], note: str) -> Table:
    """Build the table of exact errors and of the spread between training seeds, which the paper does not have.

    Args:
        rows: rows of results.json.
        note: end of the caption.
    """
    measured = [row for row in rows if ALL_ONES_SUFFIX not in row.method or row.method.startswith(FOCUS_PREFIX)]
    lines = []
    for method in dict.fromkeys(row.method.removesuffix(REFINED_SUFFIX) for row in measured):
        for suffix, source in (("", ONE_PASS), (REFINED_SUFFIX, REFINED_PASS)):
            own = [row for row in measured if row.method == method + suffix]
            cells = tuple(
                format_cell(aggregate_seeds(_matching_rows(own, column))[1], column.digits)
                for column in _SPREAD_COLUMNS
            )
            if any(one != UNKNOWN for one in cells):
                seeds = len({row.seed for row in own})
                lines.append(TableRow(method, f"{source}, {seeds} seed{'s' if seeds > 1 else ''}", cells))
    caption = f"Mean over the seeds of training ± their standard deviation. Gap: occluded minus unoccluded. {note}"
    return Table("seeds", caption, tuple(column.title for column in _SPREAD_COLUMNS), tuple(lines))


def all_ones_method_name(method: str) -> str:
    """Return the name of a method when its fits are scored with an all-ones mask."""
    base = method.removesuffix(REFINED_SUFFIX)
    return base + ALL_ONES_SUFFIX + method[len(base) :]


def occlusion_gap_rows(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Return, for each method and seed, the vertex error of occluded minus that of unoccluded pictures."""
    found: dict[tuple[str, int | None], dict[str, ResultRow]] = {}
    for row in rows:
        if (row.table, row.metric) == ("exact", "vertex_mm") and row.subset in (_UN, _OCC):
            found.setdefault((row.method, row.seed), {})[row.subset] = row
    result = []
    for pair in found.values():
        un, occluded = (pair[subset].value if subset in pair else None for subset in (_UN, _OCC))
        if un is not None and occluded is not None:
            result.append(pair[_OCC].model_copy(update={"subset": "gap", "value": occluded - un, "std": None}))
    return result


def aggregate_seeds(rows: Sequence[ResultRow]) -> tuple[MetricValue, MetricValue]:
    """Aggregate the figures of several seeds.

    Returns:
        (mean value, mean spread between pictures), (mean value, spread between seeds).
    """
    values = np.array([row.value for row in rows if row.value is not None])
    spreads = np.array([row.std for row in rows if row.std is not None])
    if not len(values):
        return MetricValue(None), MetricValue(None)
    mean = float(values.mean())
    between = float(values.std(ddof=1)) if len(values) > 1 else None
    return MetricValue(mean, float(spreads.mean()) if len(spreads) else None), MetricValue(mean, between)


def _matching_rows(rows: Sequence[ResultRow], column: Column) -> list[ResultRow]:
    about = (column.table, column.dataset, column.subset, column.metric)
    return [row for row in rows if (row.table, row.dataset, row.subset, row.metric) == about]


def _format_measured(rows: Sequence[ResultRow], column: Column) -> str:
    own = _matching_rows(rows, column)
    mark = PARTIAL_MARK if any(row.partial for row in own) else ""
    return format_cell(aggregate_seeds(own)[0], column.digits) + mark


def _as_metric_value(one: MetricValue | float) -> MetricValue:
    return one if isinstance(one, MetricValue) else MetricValue(one)


def format_cell(figure: MetricValue, digits: int) -> str:
    """Format a figure for a table."""
    if figure.value is None:
        return UNKNOWN
    value = f"{figure.value:.{digits}f}"
    return value if figure.std is None else f"{value} ± {figure.std:.{digits}f}"


def _escape_latex(text: str) -> str:
    for letter, command in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), (UNKNOWN, "--")):
        text = text.replace(letter, command)
    return text
