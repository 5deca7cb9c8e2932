"""The tables of composites."""

from typing import Any

from focus_ray.evaluation.composite_report import composite_tables


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def result(detection: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
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
        "groups": None,
        "open_faces": None,
        **others,
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


def test_groups_have_a_line_for_each_pass():
    figures = result()["figures"]["one_pass"]["own"] | {"open": {"false_alarms": figure(3.0), "nme": figure(2.0)}}
    passes = {"one_pass": figures, "refined": figures}
    one = {"persons": 7, "detection": {"rate": figure(75.0)}, "figures": passes, "differences": passes}
    table, differences = composite_tables(result(groups={"red_hair": {"yes": one, "no": one | {"detection": None}}}))[
        2:
    ]
    assert [(line.method, line.source) for line in table.lines[:3]] == [
        ("red hair: yes", "one pass"),
        ("red hair: yes", "refined"),
        ("red hair: no", "one pass"),
    ]
    expected = ("7", "75.0", "0.500 [0.400, 0.600]", "0.700", "–", "3.0", "2.00", "–", "–", "–")
    assert table.lines[0].cells == expected
    assert table.lines[2].cells[1] == "–"
    assert differences.lines[0].cells == expected[2:]
    assert [line.method for line in differences.lines] == ["red hair: yes"] * 2


def test_open_faces_have_a_table():
    figures = {"one_pass": {"own": {"false_alarms": figure(3.0, 2.0, 4.0), "occlusion_auc": figure(0.95)}}}
    opened = {"pictures": 5, "found": 4, "persons": 3, "least_covered": 0.1, "figures": figures}
    opened |= {"marked": 5, "left_out": 7}
    table = composite_tables(result(open_faces=opened))[2]
    assert table.lines[0].cells == ("3.00 [2.00, 4.00]", "0.950")
    assert "4 of 5 photographs found, of 3 persons (5 are marked as open, 7 left out); AUC against" in table.caption
    assert "composites that are covered by 10%" in table.caption
    table = composite_tables(result(open_faces=opened | {"marked": None, "left_out": 0}))[2]
    assert "of 3 persons (all of the folder: there are no attributes that mark open faces)" in table.caption
