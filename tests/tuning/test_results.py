"""What a sweep says at its end: the best trial, and how objectives agree."""

import pytest

from focus_ray.tuning.results import SweepResults, best_trial, last_common_step, rank_correlations
from tests.tuning.conftest import trials_of


def test_the_best_came_to_its_end():
    trials = trials_of(5)
    assert best_trial(trials, "min").id == "t01"  # type: ignore[union-attr]
    pruned = [one.model_copy(update={"status": "pruned"}) if one.id == "t01" else one for one in trials]
    assert best_trial(pruned, "min").id != "t01"  # type: ignore[union-attr]
    assert best_trial(trials, "max").id == "t00"  # type: ignore[union-attr]
    same = [one.model_copy(update={"objective": 1.0}) for one in reversed(trials)]
    assert best_trial(same, "max").id == "t00"  # type: ignore[union-attr]
    assert best_trial([], "min") is None
    assert best_trial([trials[0].model_copy(update={"status": "failed"})], "min") is None


def test_agreement_is_positive_where_both_mean_better():
    found = rank_correlations(trials_of(6))["unlabelled"]
    assert found["f1"] == pytest.approx(1.0)  # lower objective, higher F1
    assert found["vertex_mm"] == pytest.approx(1.0)
    assert found["outlier_iou"] is None  # all alike
    assert rank_correlations(trials_of(2))["unlabelled"]["f1"] is None


def test_a_pruned_trial_is_compared_where_the_others_were_then():
    trials = trials_of(6)
    odd = trials[3].curve[0].model_copy(update={"figures": {"unlabelled": 9.0, "f1": 0.99}})
    trials[3] = trials[3].model_copy(update={"status": "pruned", "curve": (odd,)})
    trials[5] = trials[5].model_copy(update={"status": "collapsed", "curve": ()})
    step, sound = last_common_step(trials)
    assert (step, len(sound)) == (7, 5)
    assert rank_correlations(trials)["unlabelled"]["f1"] < 1
    without = [one for one in trials if one.id != "t03"]
    assert rank_correlations(without)["unlabelled"]["f1"] == pytest.approx(1.0)
    assert last_common_step([]) == (0, [])


def test_the_best_may_be_what_the_preset_has(results: SweepResults):
    assert not results.best_is_default
    point = next(one.config for one in results.trials if one.id == results.best)
    assert results.model_copy(update={"default": dict(point)}).best_is_default


def test_as_a_file(results: SweepResults):
    assert SweepResults.model_validate_json(results.model_dump_json()) == results
