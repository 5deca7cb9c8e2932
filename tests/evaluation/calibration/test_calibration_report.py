"""Tables of a calibration: limits, any warning by kind of case, and each flag."""

from typing import Any

from focus_ray.evaluation.calibration.calibration_report import calibration_tables


def figures(precision: float | None) -> dict[str, Any]:
    interval = {"value": precision, "low": None if precision is None else 0.25, "high": 0.75}
    alone = {"value": 0.125, "low": None, "high": None}
    return {
        "cases": 20,
        "wrong": 5,
        "flagged": 4,
        "hits": 2,
        "precision": interval,
        "recall": alone,
        "false_alarms": alone,
    }


def test_figures_have_their_intervals_and_unknown_ones_a_dash():
    reported = {
        "persons": 7,
        "geometry": {"all": figures(0.5), "no_face": figures(None)},
        "mask": figures(0.5),
        "flags": {"low_presence": {"flagged": 4, "wrong": 2}},
    }
    result = {
        "model_version": "embedded-1",
        "limits": {"cut_off": 0.05, "low_presence": None},
        "calibration": {"interval": {"level": 0.95}, "reported_on": reported},
    }
    limits, warnings, flags = calibration_tables(result)
    assert [(line.method, *line.cells) for line in limits.lines] == [("cut off", "0.05"), ("low presence", "–")]
    assert [(line.method, line.source) for line in warnings.lines] == [
        ("wrong geometry", "all"),
        ("wrong geometry", "no face"),
        ("wrong mask", "detected"),
    ]
    assert warnings.lines[0].cells == ("20", "5", "4", "2", "0.50 [0.25, 0.75]", "0.12", "0.12")
    assert warnings.lines[1].cells[4] == "–"
    assert "7 persons that no limit was chosen on; 95% intervals" in warnings.caption
    assert flags.lines[0].cells == ("4", "2")
