"""The exact estimator."""

import numpy as np
import pytest
import torch

from focus_ray.errors import FaceModelError
from focus_ray.evaluation.vertex_error import rank_correlation, vertex_error_metrics, vertex_errors


def test_a_similarity_is_no_error():
    true = np.random.default_rng(0).normal(size=(50, 3)) * 60
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    assert vertex_errors(1.3 * true @ turn + 5, true).max() < 1e-9


def test_one_vertex_that_is_off_is_found():
    true = np.random.default_rng(0).normal(size=(2000, 3)) * 60
    fitted = true.copy()
    fitted[7, 2] += 1.0
    errors = vertex_errors(fitted, true)
    assert errors.argmax() == 7
    assert errors[7] == pytest.approx(1.0, abs=0.01)


def test_another_topology_is_refused():
    with pytest.raises(FaceModelError, match="the truth 4"):
        vertex_errors(np.zeros((3, 3)), np.zeros((4, 3)))


def test_figures_are_those_of_pictures():
    errors = [np.array([1.0, 3.0]), np.array([3.0, 5.0])]
    regions = {"nose": torch.tensor([True, False]), "hat": torch.tensor([False, False])}
    assert vertex_error_metrics(errors, regions) == {"vertex_mm": (3.0, 1.0), "nose_mm": (2.0, 1.0)}
    assert vertex_error_metrics([], regions)["vertex_mm"].value is None


def test_ranks_of_two_estimators():
    one = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}
    assert rank_correlation(one, {name: value**3 for name, value in one.items()}).value == pytest.approx(1.0)
    assert rank_correlation(one, {name: -value for name, value in one.items()}).value == pytest.approx(-1.0)
    assert rank_correlation(one, {"a": 1.0, "z": 2.0}).value is None
    assert rank_correlation(one, dict.fromkeys(one, 1.0)).value is None
