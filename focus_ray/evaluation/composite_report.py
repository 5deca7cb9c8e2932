"""Figures of composites as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from focus_ray.evaluation.composite_figures import ALL, OCCLUDED, OPEN
from focus_ray.evaluation.composite_scoring import OWN
from focus_ray.evaluation.tables import UNKNOWN, Table, TableRow

_MASK_COLUMNS = {
    "outlier IoU": (OCCLUDED, "outlier_iou", 3),
    "recall": (OCCLUDED, "outlier_recall", 3),
    "precision": (OCCLUDED, "outlier_precision", 3),
    "false alarms, open %": (OPEN, "false_alarms", 1),
}
"""Subset, metric and digits by title."""

_SUMMARY_COLUMNS = {
    **_MASK_COLUMNS,
    "landmarks NME %": (ALL, "nme", 2),
    "visible RMSE": (ALL, "rmse_255", 1),
    "AUC of occlusion": (ALL, "occlusion_auc", 3),
}

COMPARISON_COLUMNS = {**_MASK_COLUMNS, "NME, open %": (OPEN, "nme", 2), "NME, occluded %": (OCCLUDED, "nme", 2)}
"""The same, of comparisons of groups and of methods."""

_GROUP_COLUMNS = {
    **COMPARISON_COLUMNS,
    "tone error °": (ALL, "tone_error", 1),
    "tone difference °": (ALL, "tone_difference", 1),
}


def composite_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an evaluation: all composites, own masks by family, by group, open faces, detection rates.

    Args:
        result: result of `evaluate_composites`.
    """
    figures, note = result["figures"], describe_composites(result)
    tables = [
        Table("composites", f"Occluded composites; {note}", tuple(_SUMMARY_COLUMNS), tuple(_summary_lines(figures))),
        _family_table(figures),
    ]
    if result["groups"] is not None:
        tables += [_group_table(result["groups"]), _difference_table(result["groups"])]
    if result["open_faces"] is not None:
        tables.append(_open_table(result["open_faces"]))
    return tables if result["detection"] is None else [*tables, _detection_table(result["detection"])]


def describe_composites(result: Mapping[str, Any]) -> str:
    """Return the part of a caption that says what was scored.

    Args:
        result: with the entries composites, persons, alignment and interval.
    """
    return (
        f"{result['composites']} composites of {result['persons']} persons, aligned by {result['alignment']}; "
        f"{result['interval']['level']:.0%} intervals over persons"
    )


def _summary_lines(figures: Mapping[str, Any]) -> list[TableRow]:
    return [
        TableRow(
            mask.replace("_", " "),
            name.replace("_", " "),
            tuple(format_figure(by_subset, *column) for column in _SUMMARY_COLUMNS.values()),
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
            cells += [format_figure(masks[OWN], family, metric, 3) for metric in metrics]
            cells += [format_figure(masks[mask], family, "outlier_iou", 3) for mask in others]
            lines.append(TableRow(family.replace("_", " "), name.replace("_", " "), tuple(cells)))
    return Table("families", "Pasted pixels found by the model's own mask, by family", columns, tuple(lines))


def _group_table(groups: Mapping[str, Any]) -> Table:
    """The model's own mask, landmarks and albedo by group."""
    lines = []
    for attribute, by_group in groups.items():
        for group, one in by_group.items():
            found = UNKNOWN if one["detection"] is None else format_figure({ALL: one["detection"]}, ALL, "rate", 1)
            for name, figures in one["figures"].items():
                cells = [format_figure(figures, *column) for column in _GROUP_COLUMNS.values()]
                title = _group_title(attribute, group)
                lines.append(TableRow(title, name.replace("_", " "), (str(one["persons"]), found, *cells)))
    caption = (
        "Persons by group: the model's own mask, landmarks, and the angle of the albedo's skin tone minus that of the "
        "photograph's (error: without its sign)"
    )
    return Table("groups", caption, ("persons", "found %", *_GROUP_COLUMNS), tuple(lines))


def _difference_table(groups: Mapping[str, Any]) -> Table:
    """Each group against all others; of two groups the first one, the other differs in the sign."""
    lines = [
        TableRow(
            _group_title(attribute, group),
            name.replace("_", " "),
            tuple(format_figure(figures, *column) for column in _GROUP_COLUMNS.values()),
        )
        for attribute, by_group in groups.items()
        for group, one in list(by_group.items())[: None if len(by_group) > 2 else 1]
        for name, figures in one["differences"].items()
    ]
    caption = "Each group minus all other persons; one interval in twenty excludes 0 by chance"
    return Table("differences", caption, tuple(_GROUP_COLUMNS), tuple(lines))


def _group_title(attribute: str, group: str) -> str:
    return f"{attribute}: {group}".replace("_", " ")


def _open_table(opened: Mapping[str, Any]) -> Table:
    lines = [
        TableRow(
            mask.replace("_", " "),
            name.replace("_", " "),
            (
                format_figure({OPEN: figures}, OPEN, "false_alarms", 2),
                format_figure({OPEN: figures}, OPEN, "occlusion_auc", 3),
            ),
        )
        for name, masks in opened["figures"].items()
        for mask, figures in masks.items()
    ]
    chosen = (
        f"{opened['marked']} are marked as open, {opened['left_out']} left out"
        if opened["marked"] is not None
        else "all of the folder: there are no attributes that mark open faces"
    )
    caption = (
        f"Open faces: {opened['found']} of {opened['pictures']} photographs found, of {opened['persons']} persons "
        f"({chosen}); AUC against composites that are covered by {opened['least_covered']:.0%} or more"
    )
    return Table("open_faces", caption, ("false alarms %", "AUC of occlusion"), tuple(lines))


def _detection_table(detection: Mapping[str, Any]) -> Table:
    lines = [
        TableRow(
            name.replace("_", " "),
            "",
            (f"{one['found']} of {one['pictures']}", format_figure(detection, name, "rate", 1)),
        )
        for name, one in detection.items()
    ]
    return Table("detection", "Detected faces", ("found", "rate %"), tuple(lines))


def format_figure(by_subset: Mapping[str, Any], subset: str, metric: str, digits: int) -> str:
    """Format a figure with its interval.

    Args:
        by_subset: figures by subset and metric.
        subset: name of the subset.
        metric: name of the metric.
        digits: digits after the point.

    Returns:
        The text; a dash if the figure is missing or not defined.
    """
    figure = by_subset.get(subset, {}).get(metric, {"value": None})
    if figure["value"] is None:
        return UNKNOWN
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return value
    return f"{value} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
