"""The alternation as period and ratio: the length of EM stays."""

import pytest

from focus_ray import presets
from focus_ray.errors import ConfigError
from focus_ray.tuning.alternation import PERIOD, RATIO, apply_alternation, default_value


def test_it_keeps_the_length_of_em():
    base = presets.embedded()  # 6 cycles of 180 steps
    for period in (60, 90, 180, 540):
        for ratio in (0.1, 0.5, 0.9):
            schedule = apply_alternation(base, {PERIOD: period, RATIO: ratio}).schedule
            assert schedule.total_steps == base.schedule.total_steps
            assert schedule.seg_steps + schedule.face_steps == period
            assert schedule.seg_steps == round(ratio * period)


def test_half_a_point_keeps_the_other_half():
    base = presets.embedded()
    assert (default_value(base, PERIOD), default_value(base, RATIO)) == (180, 70 / 180)
    assert apply_alternation(base, {}) == base
    assert apply_alternation(base, {RATIO: 0.5}).schedule.seg_steps == 90
    assert apply_alternation(base, {PERIOD: 360}).schedule.seg_steps == 140


@pytest.mark.parametrize(
    "point", [{PERIOD: 7}, {PERIOD: 1}, {PERIOD: 2000}, {PERIOD: 90.0}, {RATIO: 0}, {RATIO: 1.0}, {RATIO: "half"}]
)
def test_what_does_not_fit(point):
    with pytest.raises(ConfigError, match="space: alternation"):
        apply_alternation(presets.embedded(), point)


def test_each_network_learns_in_each_cycle():
    for ratio in (0.001, 0.999):
        schedule = apply_alternation(presets.embedded(), {PERIOD: 2, RATIO: ratio}).schedule
        assert (schedule.seg_steps, schedule.face_steps) == (1, 1)
