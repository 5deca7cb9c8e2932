"""The tables of composites."""

from typing import Any

from focus_ray.evaluation.composite_report import composite_tables


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def result(detection: dict[str, Any] | None = None) -> dict[str, Any]:
    outliers = {
        "outlier_iou": figure(0.5, 0.4, 0.6),
        "outlier_recall": figure(0.7),
        "outlier_precision": figure(None),
    }
    by_subset = {
        "all": {"pictures": 4, "nme": figure(4.25, 4.0, 4.5), "rmse_255": figure(20.0), "occlusion_auc": figure(0.9)},
        "open": {"pictures": 1, "false_alarms": figure(3.04)},
        "occluded": {"pictures": 3, **outliers},
        "skin_blob": {"pictures": 3, **outliers},
    }
    return {
        "composites": 4,
        "persons": 2,
        "alignment": "landmarks",
        "interval": {"level": 0.95},
        "detection": detection,
        "figures": {name: {"own": by_subset, "skin_colour": by_subset} for name in ("one_pass", "refined")},
    }


def test_figures_have_their_intervals_and_unknown_ones_a_dash():
    summary, families = composite_tables(result())
    assert summary.lines[0].cells == ("0.500 [0.400, 0.600]", "0.700", "–", "3.0", "4.25 [4.00, 4.50]", "20.0", "0.900")
    assert [(line.method, line.source) for line in summary.lines] == [
        ("own", "one pass"),
        ("skin colour", "one pass"),
        ("own", "refined"),
        ("skin colour", "refined"),
    ]
    assert "4 composites of 2 persons, aligned by landmarks; 95% intervals over persons" in summary.caption
    assert {line.method for line in families.lines} == {"occluded", "skin blob"}
    assert families.columns[-1] == "IoU, skin colour"


def test_detection_rates_have_a_table():
    rates = {"all": {"pictures": 4, "found": 3, "rate": figure(75.0, 50.0, 100.0)}}
    table = composite_tables(result(rates))[-1]
    assert table.lines[0].cells == ("3 of 4", "75.0 [50.0, 100.0]")
