"""results.json."""

import json

import pytest

from focus_ray.errors import DataError
from focus_ray.evaluation.rows import MetricValue, ResultRow, make_rows, read_rows, write_rows

ABOUT = {"table": "segmentation", "method": "FOCUS", "dataset": "ar", "subset": "scarf", "seed": 1}


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = make_rows({"f1": MetricValue(0.9, 0.1), "outlier_iou": MetricValue(None)}, partial=True, **ABOUT)
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == read_rows(tmp_path / "results.json") == rows
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0] == {
        **ABOUT,
        "metric": "f1",
        "value": 0.9,
        "std": 0.1,
        "partial": True,
    }


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"rows": [{"table": "now"}]}', '{"rows": 3}', "[" * 100_000, '{"rows": [3]}']
)
def test_anything_else_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="evaluate again"):
        read_rows(tmp_path)


def test_a_row_is_known_by_what_it_is_about():
    row = ResultRow(metric="f1", value=0.5, **ABOUT)
    assert row.key == ResultRow(metric="f1", value=0.6, std=1.0, **ABOUT).key
