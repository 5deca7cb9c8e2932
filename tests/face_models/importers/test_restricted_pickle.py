"""Pickles as data: what published files hold is read, and nothing is ever imported, called or over-allocated."""

import pickle  # noqa: TID251  (writes what is read)
import resource
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.restricted_pickle import Array, Inert, read_pickle
from tests.face_models.importers.hostile_pickles import bombs, calls
from tests.face_models.importers.writers import Ch, Sparse, python2_pickle


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_and_plain_values_are_read_from_every_protocol(protocol):
    plain = {
        "a": 1,
        "b": [1.5, None, True, False, -(1 << 70)],
        "c": ("Zürich", b"\x00\xff"),
        "d": {},
        "e": OrderedDict(),
    }
    arrays = {
        "f8": np.arange(24.0).reshape(2, 3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "u4": np.array([[1, 2, 2**32 - 1]], np.uint32),
        "big": np.arange(3, dtype=">i4"),
        "bool": np.array([True, False]),
        "scalar": np.float64(2.5),
        "empty": np.zeros((0, 3)),
    }
    read = read_pickle(pickle.dumps({"plain": plain, "arrays": arrays}, protocol=protocol), "a.pkl")
    assert read["plain"] == plain
    assert read["arrays"].pop("scalar") == 2.5
    for name, array in read["arrays"].items():
        np.testing.assert_array_equal(array.values, arrays[name])


def test_python_2_with_chumpy_and_sparse_matrices_is_read():
    array = np.random.default_rng(0).normal(size=(4, 3))
    read = read_pickle(python2_pickle({"x": Ch(array), "s": Sparse(array), "f": array, "text": "\xe9"}), "a.pkl")
    assert read["text"] == "\xe9"
    assert read["x"].kind == "chumpy.ch.Ch"
    np.testing.assert_array_equal(read["x"].state["x"].values, array)
    assert read["s"].kind == "scipy.sparse.csc.csc_matrix"
    assert read["s"].state["_shape"] == (4, 3)


def test_text_of_protocol_0_may_hold_bytes_of_any_value():
    assert read_pickle(rb"S'\xff\x00\n'" + b"\n.", "a.pkl") == "\xff\x00\n"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_foreign_packages_are_only_named(protocol):
    read = read_pickle(pickle.dumps([csc_matrix(np.eye(3)), torch.ones(2)], protocol=protocol), "a.pkl")
    assert [type(one) for one in read] == [Inert, Inert]
    assert read[0].kind == "scipy.sparse._csc.csc_matrix"
    assert isinstance(read[0].state["data"], Array)


def test_arrays_of_objects_are_lists():
    array = np.empty((), dtype=object)
    array[()] = {"a": np.ones(2)}
    read = read_pickle(pickle.dumps(array, protocol=4), "a.pkl")
    np.testing.assert_array_equal(read.values[0]["a"].values, [1, 1])


@pytest.mark.parametrize("name", calls(Path("x")))
def test_nothing_is_called(name, tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(FaceModelError, match=r"no published face model needs; do not trust|damaged or not a pickle"):
        read_pickle(calls(canary)[name], "a.pkl")
    assert not canary.exists()


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_within_bounded_memory(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FaceModelError):
        read_pickle(bombs()[name], "a.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


@pytest.mark.parametrize("cut", [1, 10, 100, 1000])
def test_a_truncated_pickle_is_refused(cut):
    with pytest.raises(FaceModelError, match="damaged or not a pickle"):
        read_pickle(python2_pickle({"x": Ch(np.ones((40, 3)))})[:-cut], "a.pkl")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_random_changes_of_a_pickle_never_escape():
    whole = bytearray(python2_pickle({"x": Ch(np.ones((4, 3))), "s": Sparse(np.eye(3))}))
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            changed[at] = rng.integers(256)
        try:
            read_pickle(bytes(changed), "a.pkl")
        except FaceModelError:
            continue
