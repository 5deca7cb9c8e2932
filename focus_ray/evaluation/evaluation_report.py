"""HTML report of an evaluation: tables, pictures, missing inputs."""

import json
from collections.abc import Sequence
from pathlib import Path

from focus_ray.evaluation.rows import MetricValue, ResultRow
from focus_ray.evaluation.tables import Table, TableRow, format_cell
from focus_ray.storage import atomic
from focus_ray.tracking.run_report import png_data_uri, render_page

DIGITS = 3


def write_evaluation_report(
    folder: Path, rows: Sequence[ResultRow], problems: Sequence[str], tables: Sequence[Table] = ()
) -> None:
    """Write report.html from the rows and the files of the folder.

    Args:
        folder: run folder with config.json and sheets/.
        rows: rows of all tables.
        problems: a line for each thing that is missing or wrong.
        tables: tables to show before the rows.

    Raises:
        StorageError: the disk refuses.
    """
    drawn = sorted((folder / "sheets").glob("*.png"))
    html = render_page(
        "evaluation.html.jinja",
        name=folder.resolve().name,
        facts={"figures": str(len(rows)), "missing or wrong": str(len(problems))},
        headline=[],
        tables=[*tables, *plain_tables(rows)],
        pictures=[(path.stem.replace("-", ", "), png_data_uri(path.read_bytes())) for path in drawn],
        problems=problems,
        config=json.dumps(json.loads((folder / "config.json").read_bytes()), indent=2),
    )
    atomic.write_file(folder / "report.html", html)


def plain_tables(rows: Sequence[ResultRow]) -> list[Table]:
    """Return a table of all rows for each kind and data set, a line for each method, subset and seed."""
    found = []
    for kind, dataset in dict.fromkeys((row.table, row.dataset) for row in rows):
        own = [row for row in rows if (row.table, row.dataset) == (kind, dataset)]
        metrics = list(dict.fromkeys(row.metric for row in own))
        lines = []
        for method, subset, seed in dict.fromkeys((row.method, row.subset, row.seed) for row in own):
            figures = {row.metric: row for row in own if (row.method, row.subset, row.seed) == (method, subset, seed)}
            cells = tuple(
                format_cell(MetricValue(figures[metric].value, figures[metric].std), DIGITS)
                if metric in figures
                else ""
                for metric in metrics
            )
            trained = "" if seed is None else f", seed {seed}"
            partial = ", partial" if any(row.partial for row in figures.values()) else ""
            lines.append(TableRow(method, f"{subset}{trained}{partial}", cells))
        caption = f"{kind}, {dataset}"
        found.append(Table(f"{kind}-{dataset}", caption, tuple(metrics), tuple(lines)))
    return found
