"""The guard speaks when masks collapse or losses stay non-finite, and its memory survives a checkpoint."""

import json

import pytest
import torch
from torch import Tensor, nn

from focus_ray.errors import MaskCollapse, NonFiniteLoss
from focus_ray.focus import em
from focus_ray.focus.em import EmSettings, segmentation_step
from focus_ray.focus.guard import Guard, GuardEvent, GuardSettings
from focus_ray.focus.losses import SegmentationWeights, squared_distance
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition
from focus_ray.focus.state import StepMetrics, Targets
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random

GREEN = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
STEPS = 6


class Thresholded(nn.Module):
    """A segmenter that keeps the pixels with a colour error below its limit, and learns nothing."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        return 1e3 * (self.limit - squared_distance(rendered, target).sqrt()) + 0 * self.unused

    logits_to_mask = staticmethod(UNet.logits_to_mask)


HONEST, ALL_FACE = 0.3, 10.0  # limits


@pytest.fixture
def judged(state, monkeypatch):
    """judged(limit, covered): what the guard says of steps of S on faces whose fit is the truth.

    Where `covered` says so the rendered pixels, numbered from the top, are green instead of face.
    """
    images, theta = render_random(state.focus.renderer, SamplingDistributions(), 4, make_generator(7))
    with torch.no_grad():
        truth = state.focus.renderer(theta)
    monkeypatch.setattr(em, "render_pair", lambda *_: (truth, truth))
    number = truth.mask.flatten(1).cumsum(dim=1).view_as(truth.mask)
    position = SchedulePosition(Phase.EM_SEG, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=0)
    settings = EmSettings(segmentation=SegmentationWeights(eta_dist=0, eta_presv=0))

    def judge(limit: float, covered) -> tuple[list[StepMetrics], list[GuardEvent]]:
        occluder = (truth.mask > 0) & covered(number)
        batch = Targets(torch.where(occluder, GREEN, images), truth.landmarks)
        state.focus.segmenter = Thresholded(limit)
        guard, told = Guard(GuardSettings(window=STEPS - 2)), []
        for step in range(STEPS):
            told.append(segmentation_step(state, batch, position, settings, OptimizerSettings(lr=1e-3))[1])
            guard.observe_mask(step, told[-1].mask_mean, told[-1].unexplained)
        return told, guard.events

    return judge


def test_honest_masks_of_faces_that_nothing_covers_are_no_event(judged):
    """Nearly all face, and the few pixels that are not are left out: one in a hundred, as glints are."""
    told, events = judged(HONEST, lambda number: number % 100 == 50)
    assert all(step.mask_mean > 0.98 and step.unexplained == 0 for step in told)
    assert events == []


def test_masks_that_keep_an_occluder_are_an_event(judged):
    told, events = judged(ALL_FACE, lambda number: number <= 40)
    assert all(step.mask_mean > 0.999 and step.unexplained > 0.999 for step in told)
    assert [event.kind for event in events] == ["all_face"]


def test_masks_that_leave_the_occluder_out_are_no_event(judged):
    told, events = judged(HONEST, lambda number: number <= 40)
    assert all(step.mask_mean < 0.98 and step.unexplained == 0 for step in told)
    assert events == []


def test_full_masks_where_nothing_is_explained_badly_are_no_event(judged):
    """Only the noise of the sensor is left: no pixel is far off, and nothing is to be left out."""
    told, events = judged(ALL_FACE, lambda number: number < 0)
    assert all(step.mask_mean > 0.999 and step.unexplained == 0 for step in told)
    assert events == []


def test_an_occluder_over_half_of_all_faces_hides_itself(judged):
    """The limit of the rule, as the guard's documentation says: the mean error is the occluder's own."""
    told, events = judged(ALL_FACE, lambda number: number % 2 == 0)
    assert all(step.mask_mean > 0.999 and step.unexplained == 0 for step in told)
    assert events == []


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
    assert guard.in_bounds(0.99, 0.6)


def test_masks_that_keep_everything_are_a_collapse():
    guard = Guard(GuardSettings(window=4))
    events = [guard.observe_mask(step, 0.995, 0.99) for step in range(4)]
    assert events[-1] is not None
    assert events[-1].kind == "all_face"
    assert not guard.in_bounds(0.995, 0.99)


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
