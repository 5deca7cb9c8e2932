"""Choice of limits on made-up measures whose best limits are known."""

import numpy as np
import pytest

from focus_ray.evaluation.calibration.limit_choice import beyond, choose_limits, score_flags


def test_precision_recall_and_f1():
    flagged = np.array([True, True, False, False])
    wrong = np.array([True, False, True, False])
    scores = score_flags(flagged, wrong, np.array([3.0, 1.0, 1.0, 9.0]))
    assert scores == pytest.approx((0.75, 0.75, 0.75))
    assert score_flags(~flagged & flagged, wrong, np.ones(4)) == (0.0, 0.0, 0.0)
    assert score_flags(flagged, ~wrong & wrong, np.ones(4)) == (0.0, 0.0, 0.0)


def test_a_measure_that_separates_gets_the_limit_between():
    values = np.arange(40.0)[:, None]
    wrong = np.arange(40) >= 30
    (limit,) = choose_limits(values, wrong, np.ones(40), 0.5)
    assert limit == pytest.approx(29.5)


def test_two_measures_share_the_work_and_a_third_one_is_left_out():
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (300, 3))
    wrong = np.zeros(300, dtype=bool)
    wrong[:30] = wrong[30:60] = True
    values[:30, 0] += 1.0
    values[30:60, 1] += 1.0
    values[::2, 1] = np.where(wrong[::2], values[::2, 1], np.nan)  # not known of half of the right ones
    first, second, third = choose_limits(values, wrong, np.ones(300), 0.5)
    assert first is not None
    assert second is not None
    assert third is None
    assert 0.95 < first < 1.1
    assert 0.95 < second < 1.1
    scores = score_flags(beyond(values, {0: first, 1: second}), wrong, np.ones(300))
    assert min(scores) > 0.95


def test_the_precision_is_at_least_the_required_one():
    rng = np.random.default_rng(1)
    wrong = rng.random(2000) < 0.2
    values = (rng.normal(size=2000) + 1.0 * wrong)[:, None]
    for least in (0.4, 0.6):
        (limit,) = choose_limits(values, wrong, np.ones(2000), least)
        assert limit is not None
        assert score_flags(values[:, 0] > limit, wrong, np.ones(2000)).precision >= least
    assert choose_limits(values, wrong, np.ones(2000), 0.999) == [None]


def test_weights_decide_what_a_false_alarm_costs():
    values = np.repeat([0.0, 1.0, 2.0], 10)[:, None]
    wrong = np.repeat([False, True, True], 10)
    wrong[10:14] = False  # of the middle ones, four are right
    assert choose_limits(values, wrong, np.ones(30), 0.5) == [0.5]
    heavy = np.where(wrong, 1.0, 10.0)
    assert choose_limits(values, wrong, heavy, 0.5) == [1.5]


def test_a_few_cases_are_not_enough_for_a_limit():
    values = np.zeros((50, 1))
    values[:2] = 1.0
    wrong = values[:, 0] > 0
    assert choose_limits(values, wrong, np.ones(50), 0.5) == [None]
    assert choose_limits(np.full((50, 1), np.nan), wrong, np.ones(50), 0.5) == [None]
