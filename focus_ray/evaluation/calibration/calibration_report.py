"""Limits and figures of a calibration as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from focus_ray.evaluation.tables import UNKNOWN, Table, TableRow

_METRICS = ("precision", "recall", "false_alarms")
_COUNTS = ("cases", "wrong", "flagged", "hits")


def calibration_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a calibration: the limits, any warning by kind of case, and each flag.

    Args:
        result: result of `calibrate`.
    """
    reported = result["calibration"]["reported_on"]
    level = result["calibration"]["interval"]["level"]
    limits = Table(
        "limits",
        f"Limits of {result['model_version']}",
        ("limit",),
        tuple(
            TableRow(name.replace("_", " "), "", (UNKNOWN if limit is None else f"{limit:g}",))
            for name, limit in result["limits"].items()
        ),
    )
    rows = {("wrong geometry", kind): figures for kind, figures in reported["geometry"].items()}
    rows[("wrong mask", "detected")] = reported["mask"]
    warnings = Table(
        "warnings",
        f"Any warning, on composites of {reported['persons']} persons that no limit was chosen on; {level:.0%} "
        "intervals over persons",
        (*_COUNTS, *(metric.replace("_", " ") for metric in _METRICS)),
        tuple(TableRow(what, kind.replace("_", " "), _cells(figures)) for (what, kind), figures in rows.items()),
    )
    flags = Table(
        "flags",
        "Each flag on the same cases; flags of the mask on detected faces only",
        ("flagged", "of them wrong"),
        tuple(
            TableRow(flag.replace("_", " "), "", (str(one["flagged"]), str(one["wrong"])))
            for flag, one in reported["flags"].items()
        ),
    )
    return [limits, warnings, flags]


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (*(str(figures[name]) for name in _COUNTS), *(_format(figures[name]) for name in _METRICS))


def _format(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return UNKNOWN
    value = f"{figure['value']:.2f}"
    return value if figure["low"] is None else f"{value} [{figure['low']:.2f}, {figure['high']:.2f}]"
