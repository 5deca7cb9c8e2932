"""Modes of named shapes: the shapes are found again as their combinations."""

import numpy as np

from focus_ray.face_models.importers.named_modes import leading_modes, named_modes
from tests.face_models.importers.writers import toy

FACE = toy()
FIELDS = FACE.modes(6)


def combined(modes, expressions) -> np.ndarray:
    return np.einsum("nk,kvd->nvd", expressions.coefficients.numpy(), modes)


def test_named_shapes_are_combinations_of_the_modes():
    named = {"one": 2 * FIELDS[0], "two": FIELDS[1] - FIELDS[4]}
    modes, expressions = named_modes(FIELDS, named, 10)
    assert expressions.names == ("one", "two")
    np.testing.assert_allclose(combined(modes, expressions), np.stack(list(named.values())), atol=1e-4)
    fewer, approximate = named_modes(FIELDS, named, 2)
    assert fewer.shape[0] == approximate.coefficients.shape[1] == 2
    error = np.linalg.norm(combined(fewer, approximate)[0] - named["one"])
    assert error < 0.5 * np.linalg.norm(named["one"])


def test_fields_that_repeat_each_other_are_no_danger():
    modes, expressions = named_modes(np.stack([FIELDS[0], FIELDS[0]]), {"one": FIELDS[0]}, 5)
    np.testing.assert_allclose(combined(modes, expressions)[0], FIELDS[0], atol=1e-4)


def test_without_names_there_are_only_modes():
    modes, expressions = named_modes(FIELDS, {}, 3)
    assert expressions is None
    np.testing.assert_array_equal(modes, leading_modes(FIELDS, 3, "expression"))
    flat = modes.reshape(3, -1)
    np.testing.assert_allclose(flat @ flat.T, np.diag((flat**2).sum(axis=1)), atol=1e-8)
