"""What a sweep reads of Ray Tune's tables."""

import math

import pandas

from focus_ray.tuning.sweep import evaluations


def test_evaluations_are_told_once_by_step():
    table = pandas.DataFrame(
        {
            "step": [4, 8, 4, 8, -1],  # it went on from before, and then broke
            "objective": [0.3, 0.9, 0.3, 0.2, 10.0],
            "unlabelled": [0.3, 0.9, 0.3, 0.2, math.nan],
            "f1": [0.5, 0.6, 0.5, 0.7, math.nan],
        }
    )
    found = evaluations(table)
    assert [one.step for one in found] == [4, 8]
    assert found[1].figures["unlabelled"] == 0.2
    assert found[1].figures["f1"] == 0.7
    assert found[1].figures["vertex_mm"] is None


def test_a_trial_that_told_nothing_has_none():
    assert evaluations(None) == ()
    assert evaluations(pandas.DataFrame({"done": [True]})) == ()
