"""Figures of composites as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from focus_ray.evaluation.composite_scoring import OWN
from focus_ray.evaluation.composites import ALL, OCCLUDED, OPEN
from focus_ray.evaluation.tables import UNKNOWN, Table, TableRow

_SUMMARY_COLUMNS = {
    "outlier IoU": (OCCLUDED, "outlier_iou", 3),
    "recall": (OCCLUDED, "outlier_recall", 3),
    "precision": (OCCLUDED, "outlier_precision", 3),
    "false alarms, open %": (OPEN, "false_alarms", 1),
    "landmarks NME %": (ALL, "nme", 2),
    "visible RMSE": (ALL, "rmse_255", 1),
    "AUC of occlusion": (ALL, "occlusion_auc", 3),
}
"""Subset, metric and digits by title."""


def composite_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an evaluation: all composites, own masks by family, and detection rates.

    Args:
        result: result of `evaluate_composites`.
    """
    interval, figures = result["interval"], result["figures"]
    note = (
        f"{result['composites']} composites of {result['persons']} persons, aligned by {result['alignment']}; "
        f"{interval['level']:.0%} intervals over persons"
    )
    tables = [
        Table("composites", f"Occluded composites; {note}", tuple(_SUMMARY_COLUMNS), tuple(_summary_lines(figures))),
        _family_table(figures),
    ]
    return tables if result["detection"] is None else [*tables, _detection_table(result["detection"])]


def _summary_lines(figures: Mapping[str, Any]) -> list[TableRow]:
    return [
        TableRow(
            mask.replace("_", " "),
            name.replace("_", " "),
            tuple(_format(by_subset, *column) for column in _SUMMARY_COLUMNS.values()),
        )
        for name, masks in figures.items()
        for mask, by_subset in masks.items()
    ]


def _family_table(figures: Mapping[str, Any]) -> Table:
    """Outliers by family: the own mask in full, of the other masks the IoU."""
    first = next(iter(figures.values()))
    others = [mask for mask in first if mask not in (OWN, "all_ones")]
    columns = ("pictures", "IoU", "recall", "precision", *(f"IoU, {mask.replace('_', ' ')}" for mask in others))
    lines = []
    for family in [name for name in first[OWN] if name not in (ALL, OPEN)]:
        for name, masks in figures.items():
            metrics = ("outlier_iou", "outlier_recall", "outlier_precision")
            cells = [str(masks[OWN][family]["pictures"])]
            cells += [_format(masks[OWN], family, metric, 3) for metric in metrics]
            cells += [_format(masks[mask], family, "outlier_iou", 3) for mask in others]
            lines.append(TableRow(family.replace("_", " "), name.replace("_", " "), tuple(cells)))
    return Table("families", "Pasted pixels found by the model's own mask, by family", columns, tuple(lines))


def _detection_table(detection: Mapping[str, Any]) -> Table:
    lines = [
        TableRow(
            name.replace("_", " "), "", (f"{one['found']} of {one['pictures']}", _format(detection, name, "rate", 1))
        )
        for name, one in detection.items()
    ]
    return Table("detection", "Detected faces", ("found", "rate %"), tuple(lines))


def _format(by_subset: Mapping[str, Any], subset: str, metric: str, digits: int) -> str:
    """Value and interval of a figure."""
    figure = by_subset.get(subset, {}).get(metric, {"value": None})
    if figure["value"] is None:
        return UNKNOWN
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return value
    return f"{value} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
