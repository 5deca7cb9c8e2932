"""Statistics over pictures with weights, and intervals over groups of them."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from focus_ray.numerics.bootstrap import (
    GroupBootstrap,
    Interval,
    weighted_auc,
    weighted_mean,
    weighted_ratio,
)

RNG = np.random.default_rng(0)


def test_integer_weights_repeat_pictures():
    scores, positive = RNG.integers(0, 5, 30).astype(float), RNG.uniform(size=30) < 0.4
    weights = RNG.integers(0, 4, (3, 30)).astype(float)
    for row, auc, mean, ratio in zip(
        weights,
        weighted_auc(scores, positive)(weights),
        weighted_mean(scores)(weights),
        weighted_ratio(scores, scores + 1)(weights),
        strict=True,
    ):
        repeated = np.repeat(np.arange(30), row.astype(int))
        assert auc == pytest.approx(roc_auc_score(positive[repeated], scores[repeated]))
        assert mean == pytest.approx(scores[repeated].mean())
        assert ratio == pytest.approx(scores[repeated].sum() / (scores[repeated] + 1).sum())


def test_unknown_values_are_left_out_of_a_mean():
    assert weighted_mean(np.array([1.0, np.nan, 3.0]))(np.array([[1.0, 5.0, 1.0]])) == pytest.approx([2.0])
    assert np.isnan(weighted_mean(np.array([1.0, np.nan]))(np.array([[0.0, 1.0]]))).all()


def test_a_difference_is_that_of_two_parts_and_has_limits_if_both_have_groups():
    values = np.array([1.0, 3.0, 6.0, 10.0, 50.0])
    first, second = np.arange(5) < 2, (np.arange(5) >= 2) & (np.arange(5) < 4)
    bootstrap = GroupBootstrap(["a", "b", "c", "d", "e"])
    found = bootstrap.difference(weighted_mean(values), first, second)
    assert found == Interval(pytest.approx(-6.0), pytest.approx(-9.0), pytest.approx(-3.0))
    assert bootstrap.difference(weighted_mean(values), first, np.arange(5) == 2) == Interval(pytest.approx(-4.0))
    assert bootstrap.difference(weighted_mean(values), first, values < 0) == Interval(None)


def test_an_interval_has_the_width_of_the_standard_error():
    values = RNG.normal(5.0, 2.0, 400)
    found = GroupBootstrap([str(i) for i in range(400)], seed=3).interval(weighted_mean(values), np.ones(400, bool))
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    assert found.low < values.mean() < found.high


def test_pictures_of_one_group_are_drawn_together():
    values = np.repeat(RNG.normal(0.0, 1.0, 20), 50)
    everyone = np.ones(1000, bool)
    grouped = GroupBootstrap([str(i // 50) for i in range(1000)]).interval(weighted_mean(values), everyone)
    single = GroupBootstrap([str(i) for i in range(1000)]).interval(weighted_mean(values), everyone)
    width = [one.high - one.low for one in (grouped, single) if one.high is not None and one.low is not None]
    assert width[0] > 4 * width[1]


def test_only_the_chosen_pictures_count_and_one_group_has_no_limits():
    values = np.array([1.0, 2.0, 30.0, 40.0])
    bootstrap = GroupBootstrap(["a", "a", "b", "c"])
    assert bootstrap.interval(weighted_mean(values), np.array([True, True, False, False])) == Interval(1.5)
    assert bootstrap.interval(weighted_mean(values), np.zeros(4, bool)) == Interval(None)
    others = bootstrap.interval(weighted_mean(values), np.array([False, False, True, True]))
    assert others == Interval(35.0, 30.0, 40.0)
