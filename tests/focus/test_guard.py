"""The guard speaks when masks collapse or losses stay non-finite, and its memory survives a checkpoint."""

import json

import pytest

from focus_ray.errors import MaskCollapse, NonFiniteLoss
from focus_ray.focus.guard import Guard, GuardSettings


def test_healthy_masks_pass():
    guard = Guard(GuardSettings(window=3))
    assert all(guard.observe_mask(step, 0.8) is None for step in range(50))


@pytest.mark.parametrize(("mean", "kind"), [(0.001, "all_outlier"), (0.995, "all_face")])
def test_a_window_of_collapsed_masks_is_one_event(mean, kind):
    guard = Guard(GuardSettings(window=4, action="recalibrate"))
    events = [guard.observe_mask(step, mean) for step in range(6)]
    assert [event is not None for event in events] == [False, False, False, True, False, False]
    assert guard.events[0].kind == kind


def test_masks_that_leave_out_what_is_explained_worst_are_honest_however_full():
    """Photographs without occlusion: 99 % face, and of the pixels far off the fit 40 % are left out."""
    guard = Guard(GuardSettings(window=4))
    assert all(guard.observe_mask(step, 0.99, 0.6) is None for step in range(50))
    assert guard.allows(0.99, 0.6)


def test_masks_that_keep_everything_are_a_collapse():
    guard = Guard(GuardSettings(window=4))
    events = [guard.observe_mask(step, 0.995, 0.99) for step in range(4)]
    assert events[-1] is not None
    assert events[-1].kind == "all_face"
    assert not guard.allows(0.995, 0.99)


def test_a_checkpoint_without_the_worst_explained_pixels_loads():
    guard = Guard(GuardSettings(window=4))
    state = guard.state_dict() | {"window": [0.5, 0.6]}
    del state["unexplained"]
    guard.load_state_dict(state)
    assert list(guard.unexplained) == [0.5, 0.6]


def test_a_single_bad_step_is_no_collapse():
    guard = Guard(GuardSettings(window=4))
    assert [guard.observe_mask(step, mean) for step, mean in enumerate([0.0, 0.8, 0.8, 0.8])] == [None] * 4


def test_the_action_stop_ends_the_run():
    guard = Guard(GuardSettings(window=2, action="stop"))
    guard.observe_mask(0, 1.0)
    with pytest.raises(MaskCollapse, match="all face"):
        guard.observe_mask(1, 1.0)


def test_an_action_that_does_not_help_ends_the_run():
    guard = Guard(GuardSettings(window=1, action="restore", max_events=2))
    guard.observe_mask(0, 0.0)
    guard.observe_mask(1, 0.0)
    with pytest.raises(MaskCollapse):
        guard.observe_mask(2, 0.0)


def test_nonfinite_steps_stop_the_run_only_in_a_row():
    guard = Guard(GuardSettings(max_nonfinite=3))
    for step, finite in enumerate([False, False, True, False, False]):
        guard.observe_loss(step, finite)
    assert guard.nonfinite_total == 4
    with pytest.raises(NonFiniteLoss, match="3 steps in a row"):
        guard.observe_loss(5, False)


def test_state_survives_json():
    guard = Guard(GuardSettings(window=3))
    for step, mean in enumerate([0.001, 0.001, 0.001, 0.5]):
        guard.observe_mask(step, mean)
    guard.observe_loss(4, False)
    other = Guard(GuardSettings(window=3))
    other.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert other.state_dict() == guard.state_dict()
