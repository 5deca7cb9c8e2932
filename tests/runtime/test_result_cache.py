"""Finished pieces of an evaluation."""

import numpy as np

from focus_ray.runtime.result_cache import ResultCache, digest


def test_a_piece_is_read_as_it_was_written(tmp_path):
    parts = ResultCache(tmp_path, digest("scoring", 1))
    assert parts.load(3) is None
    arrays = {"counts": np.arange(8.0).reshape(2, 4).T, "n": np.array([3], dtype=np.int64)}
    parts.save(3, arrays)
    found = parts.load(3)
    assert found is not None
    assert found.keys() == arrays.keys()
    assert all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items()
    )


def test_other_work_has_other_pieces(tmp_path):
    ResultCache(tmp_path, digest("scoring", 1)).save(0, {"x": np.zeros(1)})
    assert ResultCache(tmp_path, digest("scoring", 2)).load(0) is None
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_damaged_piece_counts_as_not_there(tmp_path, caplog):
    parts = ResultCache(tmp_path, "work")
    parts.save(0, {"x": np.zeros(4)})
    parts.path(0).write_bytes(parts.path(0).read_bytes()[:-5])
    assert parts.load(0) is None
    assert "computed again" in caplog.text
