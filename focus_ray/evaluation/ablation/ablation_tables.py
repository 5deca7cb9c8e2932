"""Tables of an ablation: all rows, their differences from FOCUS, families, and how the models were trained."""

from collections.abc import Mapping
from typing import Any

from focus_ray.evaluation.ablation.ablation_rows import ABLATION_ROWS, REFERENCE
from focus_ray.evaluation.composite_figures import ALL, OCCLUDED, OPEN
from focus_ray.evaluation.composite_report import COMPARISON_COLUMNS, describe_composites, format_figure
from focus_ray.evaluation.tables import UNKNOWN, Table, TableRow


def ablation_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an ablation.

    Args:
        result: result of `run_ablation`.
    """
    rows = result["rows"]
    note = describe_composites(result)
    found = [
        Table("ablation", f"Ablation on real composites; {note}", tuple(COMPARISON_COLUMNS), _lines(rows, "figures"))
    ]
    if any(row["differences"] for row in rows.values()):
        caption = (
            f"Each row minus {ABLATION_ROWS[REFERENCE].title} on the same composites; intervals of the differences"
        )
        found.append(Table("differences", caption, tuple(COMPARISON_COLUMNS), _lines(rows, "differences")))
    return [*found, _family_table(rows), _training_table(result["models"])]


def _lines(rows: Mapping[str, Any], part: str) -> tuple[TableRow, ...]:
    """A line for each row and pass."""
    return tuple(
        TableRow(
            row["title"],
            name.replace("_", " "),
            tuple(format_figure(by_subset, *column) for column in COMPARISON_COLUMNS.values()),
        )
        for row in rows.values()
        for name, by_subset in row[part].items()
    )


def _family_table(rows: Mapping[str, Any]) -> Table:
    """Outlier IoU by family, without intervals; families are seen or unseen by the default synthetic training."""
    families = list(
        dict.fromkeys(
            subset
            for row in rows.values()
            for by_subset in row["figures"].values()
            for subset in by_subset
            if subset not in (ALL, OPEN, OCCLUDED)
        )
    )
    lines = [
        TableRow(row["title"], name.replace("_", " "), tuple(_iou(by_subset, family) for family in families))
        for row in rows.values()
        for name, by_subset in row["figures"].items()
    ]
    titles = tuple(family.removeprefix("occluded_").replace("_", " ") for family in families)
    caption = (
        'Outlier IoU by family; "seen" and "unseen" are those of the default synthetic training, not of these rows'
    )
    return Table("families", caption, titles, tuple(lines))


def _iou(by_subset: Mapping[str, Any], family: str) -> str:
    value = by_subset.get(family, {}).get("outlier_iou", {}).get("value")
    return UNKNOWN if value is None else f"{value:.3f}"


def _training_table(trained: Mapping[str, Any]) -> Table:
    """Steps and time of each model."""
    columns = ("encoder steps", "S steps", "knows pasted pixels", "guard events", "minutes")
    lines = [
        TableRow(
            name,
            model["model_version"] or UNKNOWN,
            (
                str(model["encoder_steps"]),
                str(model["segmenter_steps"]),
                "yes" if model["labels"] else "no",
                str(model["guard_events"]),
                f"{model['train_seconds'] / 60:.1f}",
            ),
        )
        for name, model in trained.items()
    ]
    return Table("training", "Training of the models, after the shared warm-up", columns, tuple(lines))
