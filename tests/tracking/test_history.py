"""The records of a run are read up to the first torn one; a figure is found by its dotted path."""

import pytest

from focus_ray.tracking.history import look_up, read_history


def test_a_history_is_read_up_to_the_first_line_that_is_no_step(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_text('{"step": 0, "loss": {}}\n{"step": 1, "loss": {}}\n{"step": null}\n{"step": 3}\n')
    assert [line["step"] for line in read_history(file)] == [0, 1]


@pytest.mark.parametrize(
    ("path", "value"), [("a.b", 1), ("a", {"b": 1}), ("a.c", None), ("a.b.c", None), ("x.y", None)]
)
def test_a_value_is_found_by_its_path(path, value):
    assert look_up({"a": {"b": 1}}, path) == value
