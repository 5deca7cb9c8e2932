"""The tables of an ablation."""

from typing import Any

from focus_ray.evaluation.ablation.ablation_tables import ablation_tables


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def by_subset(iou: float | None) -> dict[str, Any]:
    outliers = {
        "outlier_iou": figure(iou, 0.1, 0.9),
        "outlier_recall": figure(0.7),
        "outlier_precision": figure(None),
        "nme": figure(4.256),
    }
    return {
        "all": outliers,
        "open": {"false_alarms": figure(3.04), "nme": figure(2.0)},
        "occluded": outliers,
        "occluded_seen": outliers,
        "surgical_mask": outliers,
    }


def result(differences: dict[str, Any]) -> dict[str, Any]:
    rows = {
        "mofa": {"title": "MoFA", "figures": {"one_pass": by_subset(0.0)}, "differences": differences},
        "focus": {
            "title": "FOCUS",
            "figures": {"one_pass": by_subset(0.5), "refined": by_subset(0.6)},
            "differences": {},
        },
    }
    model = {
        "model_version": "mofa-1",
        "labels": False,
        "encoder_steps": 1100,
        "segmenter_steps": 0,
        "guard_events": 2,
        "train_seconds": 90.0,
    }
    return {
        "composites": 4,
        "persons": 2,
        "alignment": "landmarks",
        "interval": {"level": 0.95},
        "rows": rows,
        "models": {"mofa": model, "focus": model | {"model_version": None, "labels": True}},
    }


def test_one_line_for_each_row_and_pass():
    table, families, training = ablation_tables(result({}))
    assert [(line.method, line.source) for line in table.lines] == [
        ("MoFA", "one pass"),
        ("FOCUS", "one pass"),
        ("FOCUS", "refined"),
    ]
    assert table.lines[1].cells == ("0.500 [0.100, 0.900]", "0.700", "–", "3.0", "2.00", "4.26")
    assert "4 composites of 2 persons" in table.caption
    assert "default synthetic training" in families.caption
    assert families.columns == ("seen", "surgical mask")
    assert families.lines[2].cells == ("0.600", "0.600")
    assert training.lines[0].cells == ("1100", "0", "no", "2", "1.5")
    assert (training.lines[1].source, training.lines[1].cells[2]) == ("–", "yes")


def test_differences_from_focus():
    _, differences, *_ = ablation_tables(result({"one_pass": by_subset(-0.5)}))
    assert "minus FOCUS, no planted labels on the same composites" in differences.caption
    assert [line.method for line in differences.lines] == ["MoFA"]
    assert differences.lines[0].cells[0] == "-0.500 [0.100, 0.900]"


def test_nothing_is_trained_yet():
    tables = ablation_tables(result({}) | {"rows": {}, "models": {}})
    assert all(table.lines == () and table.to_text() for table in tables)
