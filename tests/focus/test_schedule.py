"""The schedule's order, its known length, and learning rates that need no state."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_ray.errors import ConfigError
from focus_ray.focus.schedule import OptimizerSettings, Phase, Schedule, SchedulePosition

SCHEDULE = Schedule(warmup_steps=4, init_steps=3, pretrain_seg_steps=2, cycles=2, seg_steps=2, face_steps=3)


def test_phases_come_in_the_papers_order():
    phases = [SCHEDULE.at(step).phase for step in range(SCHEDULE.total_steps)]
    cycle = [Phase.EM_SEG] * 2 + [Phase.EM_FACE] * 3
    assert phases == [Phase.WARMUP] * 4 + [Phase.INIT] * 3 + [Phase.PRETRAIN_SEG] * 2 + cycle * 2


def test_position_counts_within_phase_block_and_cycle():
    assert SCHEDULE.at(9 + 5 + 1) == SchedulePosition(
        Phase.EM_SEG, cycle=1, in_phase=3, phase_total=4, in_block=1, in_stage=6
    )
    assert SCHEDULE.at(9 + 5 + 2) == SchedulePosition(
        Phase.EM_FACE, cycle=1, in_phase=3, phase_total=6, in_block=0, in_stage=7
    )


@pytest.mark.parametrize("step", [-1, SCHEDULE.total_steps])
def test_a_step_outside_the_schedule_is_refused(step):
    with pytest.raises(ValueError, match="outside the schedule"):
        SCHEDULE.at(step)


@given(steps=st.integers(1, 3000))
@settings(deadline=None, max_examples=60)
def test_fitted_schedules_have_the_length_that_was_asked_for(steps):
    long = Schedule(warmup_steps=2400, init_steps=450, pretrain_seg_steps=120, cycles=5, seg_steps=30, face_steps=96)
    assert long.rescale(steps).total_steps == steps


def test_a_schedule_of_no_steps_cannot_be_fitted():
    empty = Schedule(init_steps=0, pretrain_seg_steps=0, cycles=0, seg_steps=5, face_steps=5)
    with pytest.raises(ConfigError, match="without steps"):
        empty.rescale(10)


def test_fitting_keeps_every_phase_when_there_is_room():
    long = Schedule(warmup_steps=2400, init_steps=450, pretrain_seg_steps=120, cycles=5, seg_steps=30, face_steps=96)
    fitted = long.rescale(60)
    assert {fitted.at(step).phase for step in range(60)} == set(Phase)


def test_one_cycle_rises_then_falls_to_almost_nothing():
    optimizer = OptimizerSettings(lr=1.0, shape="one_cycle")

    def rate(done: int) -> float:
        return optimizer.learning_rate(SchedulePosition(Phase.INIT, 0, done, 100, done, done))

    assert rate(0) == pytest.approx(1 / 25)
    assert rate(30) == pytest.approx(1.0)
    assert rate(99) < 0.01


def test_released_rates_decay_by_steps():
    optimizer = OptimizerSettings(rule="adadelta", lr=0.1, shape="steps")
    late = SchedulePosition(Phase.INIT, 0, in_phase=299_999, phase_total=400_000, in_block=299_999, in_stage=299_999)
    assert optimizer.learning_rate(late) == pytest.approx(0.1 * 0.99**59)


def test_released_rates_decay_while_the_other_network_learns():
    """Both schedulers of the released code step in every iteration of EM: S decays by 0.95 every 5,000 of those."""
    em = Schedule(init_steps=10, pretrain_seg_steps=10, cycles=8, seg_steps=5_000, face_steps=25_000)
    optimizer = OptimizerSettings(rule="adadelta", lr=1.0, shape="steps", decay=0.95)
    assert optimizer.learning_rate(em.at(20 + 4_999)) == 1.0
    assert optimizer.learning_rate(em.at(20 + 30_000)) == pytest.approx(0.95**6)
    assert optimizer.learning_rate(em.at(20 + 7 * 30_000 + 4_999)) == pytest.approx(0.95**42)
