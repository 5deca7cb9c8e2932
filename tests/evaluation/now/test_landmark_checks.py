"""Order and units of landmarks, on people of the parametric face."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from focus_ray.evaluation.now.export import select_now_landmarks
from focus_ray.evaluation.now.landmark_checks import order_findings, unit_findings
from tests.evaluation.now.faces import similarity


@pytest.fixture(scope="module")
def people(small_face):
    """Landmarks of 16 people, with a millimetre of noise."""
    generator = torch.Generator().manual_seed(0)
    alpha = torch.zeros(16, small_face.n_identity + small_face.n_expression)
    alpha[:, : small_face.n_identity] = torch.randn(16, small_face.n_identity, generator=generator)
    points = small_face.landmarks(small_face.vertices(alpha)).double().numpy()
    return [select_now_landmarks(one) + np.random.default_rng(i).normal(size=(7, 3)) for i, one in enumerate(points)]


def pairs(people):
    return [(similarity(i)(one), other) for i, (one, other) in enumerate(pairwise(people))]


def test_another_person_is_no_disorder(people):
    assert [list(order_findings("x", one, scan)) for one, scan in pairs(people)] == [[]] * 15


def test_disorder_is_seen_between_any_two_people(people):
    for one, scan in pairs(people):
        (finding,) = order_findings("x", one[[3, 2, 1, 0, 4, 6, 5]], scan)
        assert "left and right" in finding.problem
        (finding,) = order_findings("x", one[[6, 5, 4, 3, 2, 1, 0]], scan)
        assert "not in the challenge's order" in finding.problem


@pytest.mark.parametrize(("scale", "seen"), [(0.4, False), (2.5, False), (1000, True), (0.1, True)])
def test_units(scale, seen, people):
    assert bool(list(unit_findings("x", scale * people[0], people[1], metrical=True))) == seen
