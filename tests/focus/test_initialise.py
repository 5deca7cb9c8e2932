"""The initialisation: a threshold that falls, preliminary masks of the rendering at hand, batches made of the seed."""

import copy

import pytest
import torch

from focus_ray.focus import losses
from focus_ray.focus.initialise import InitialiseSettings, WarmupSettings, init_step, pretrain_step, warmup_step
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition
from focus_ray.focus.state import Targets, TrainState
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random

BATCH = 4
HALFWAY = SchedulePosition(Phase.INIT, cycle=0, in_phase=5, phase_total=10, in_block=5, in_stage=5)
OF_S = SchedulePosition(Phase.PRETRAIN_SEG, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=0)
OPTIMIZER = OptimizerSettings(lr=1e-3)
FALLING = InitialiseSettings(xi=0.02, xi_start=0.32)  # 0.08 halfway


@pytest.fixture
def batch(state) -> Targets:
    renderer = state.focus.renderer
    images, theta = render_random(renderer, SamplingDistributions(), BATCH, make_generator(7))
    images[:, :, 10:20, 8:16] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]  # an occluder
    return Targets(images, renderer(theta).landmarks)


def kept(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters and buffers that are no longer what they were."""
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def rendering_of(state: TrainState, batch: Targets, *, training: bool) -> Rendering:
    """The autoencoder's rendering, by the batch's statistics or by the running ones; nothing is left changed."""
    autoencoder = copy.deepcopy(state.focus.autoencoder).train(training)
    with torch.no_grad():
        return autoencoder(batch.images).rendering


def share(mask: torch.Tensor, region: torch.Tensor) -> float:
    return float(mask.sum() / region.sum())


def test_the_threshold_falls_geometrically_from_start_to_end():
    settings = InitialiseSettings(xi=0.1, xi_start=0.4)
    assert [settings.xi_at(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 0.2, 0.1])


def test_the_threshold_is_the_papers_throughout_where_no_start_is_given():
    assert [InitialiseSettings().xi_at(progress) for progress in (0.0, 0.3, 1.0)] == pytest.approx([0.17] * 3)


def test_the_preliminary_mask_of_the_rendering_at_this_threshold_is_the_mask_of_the_pixel_loss(state, batch):
    rendering = rendering_of(state, batch, training=True)
    mask = losses.preliminary_mask(batch.images, rendering.image, rendering.mask, 0.08)
    before = kept(state.focus.segmenter)
    _, metrics = init_step(state, batch, HALFWAY, FALLING, OPTIMIZER)
    assert metrics.losses["pixel"] == pytest.approx(float(losses.pixel(batch.images, rendering.image, mask)), rel=1e-4)
    assert metrics.mask_mean == pytest.approx(share(mask, rendering.mask), abs=1e-6)
    at_the_end = losses.preliminary_mask(batch.images, rendering.image, rendering.mask, 0.02)
    assert 0 < share(at_the_end, rendering.mask) < metrics.mask_mean < 1
    assert changed(state.focus.segmenter, before) == set()


def test_the_supervised_learn_where_the_true_masks_see_the_face(state, batch):
    truth = torch.ones_like(batch.images[:, :1])
    truth[:, :, 10:20, 8:16] = 0  # the occluder
    rendering = rendering_of(state, batch, training=True)
    settings = FALLING.model_copy(update={"mask": "true"})
    with pytest.raises(ValueError, match="no true masks"):
        init_step(state, batch, HALFWAY, settings, OPTIMIZER)
    _, metrics = init_step(state, batch._replace(masks=truth), HALFWAY, settings, OPTIMIZER)
    mask = rendering.mask * truth
    assert metrics.losses["pixel"] == pytest.approx(float(losses.pixel(batch.images, rendering.image, mask)), rel=1e-4)
    assert metrics.mask_mean == pytest.approx(share(mask, rendering.mask), abs=1e-6)


def test_without_a_mask_all_that_is_rendered_counts(state, batch):
    rendering = rendering_of(state, batch, training=True)
    _, metrics = init_step(state, batch, HALFWAY, FALLING.model_copy(update={"mask": "none"}), OPTIMIZER)
    expected = losses.pixel(batch.images, rendering.image, rendering.mask)
    assert metrics.losses["pixel"] == pytest.approx(float(expected), rel=1e-4)
    assert metrics.mask_mean == 1.0


def test_the_likelihood_takes_the_place_of_the_squared_colour_distance(state, batch):
    rendering = rendering_of(state, batch, training=True)
    expected = losses.truncated_nll(batch.images, rendering.image, rendering.mask, xi=0.08)
    squared = losses.pixel(
        batch.images, rendering.image, losses.preliminary_mask(batch.images, rendering.image, rendering.mask, 0.08)
    )
    assert float(expected) != pytest.approx(float(squared), rel=0.1)
    settings = FALLING.model_copy(update={"likelihood": True, "weights": ReconstructionWeights(lambda_per=0.0)})
    _, metrics = init_step(state, batch, HALFWAY, settings, OPTIMIZER)
    parts = metrics.losses
    assert set(parts) == {"pixel", "lm", "reg", "total"}
    assert parts["pixel"] == pytest.approx(float(expected), rel=1e-4)
    assert parts["total"] == pytest.approx(0.5 * parts["pixel"] + 5e-4 * parts["lm"] + 0.1 * parts["reg"], rel=1e-4)


@pytest.mark.parametrize("xi_start", [None, 0.32])
def test_the_segmenter_learns_the_preliminary_masks_at_the_last_threshold(state, batch, xi_start):
    """Also at its first step: xi has fallen when its phase begins."""
    rendering = rendering_of(state, batch, training=False)
    label = losses.preliminary_mask(batch.images, rendering.image, rendering.mask, 0.02)
    with torch.no_grad():
        logits = copy.deepcopy(state.focus.segmenter).train()(rendering.image, batch.images)
    settings = InitialiseSettings(xi=0.02, xi_start=xi_start)
    _, metrics = pretrain_step(state, batch, OF_S, settings, OPTIMIZER)
    assert 0 < label.sum() < rendering.mask.sum()
    expected = losses.mask_cross_entropy(logits, label, rendering.mask)
    assert metrics.losses["bce"] == pytest.approx(float(expected), rel=1e-4)
    assert metrics.mask_mean == pytest.approx(share(rendering.mask * logits.sigmoid(), rendering.mask), rel=1e-4)


def test_its_masks_come_closer_to_the_preliminary_ones(state, batch):
    settings = InitialiseSettings(xi=0.02)
    quick = OptimizerSettings(lr=2e-2)
    entropies = [pretrain_step(state, batch, OF_S, settings, quick)[1].losses["bce"] for _ in range(15)]
    assert entropies[-1] < 0.7 * entropies[0]


def test_while_the_segmenter_learns_the_encoder_rests(state, batch):
    encoder, segmenter = kept(state.focus.encoder), kept(state.focus.segmenter)
    pretrain_step(state, batch, OF_S, InitialiseSettings(xi=0.02), OPTIMIZER)
    assert changed(state.focus.encoder, encoder) == set()
    assert {"last.weight", "down.0.0.weight", "down.0.1.running_mean"} <= changed(state.focus.segmenter, segmenter)


def warmed(
    start: TrainState, seed: int, position: SchedulePosition, disturb: int
) -> tuple[dict[str, float], torch.Tensor]:
    """Losses and encoder after one step from the same weights, whatever else has happened to the process."""
    state = copy.deepcopy(start)
    state.step = disturb
    torch.manual_seed(disturb)
    _, metrics = warmup_step(state, seed, position, WarmupSettings(batch_size=BATCH), OPTIMIZER)
    assert metrics.mask_mean is None
    return metrics.losses, state.focus.encoder.head.bias.detach()


def test_a_step_of_the_warmup_follows_from_seed_and_step_and_from_nothing_else(state):
    at = SchedulePosition(Phase.WARMUP, cycle=0, in_phase=3, phase_total=10, in_block=3, in_stage=3)
    (parts, bias), (again, same) = (warmed(state, 5, at, disturb) for disturb in (1, 2))
    assert parts == again
    assert torch.equal(bias, same)
    assert set(parts) == {"vertices", "albedo", "camera", "light", "theta", "total"}
    for seed, position in ((6, at), (5, at._replace(in_phase=4))):
        other, _ = warmed(state, seed, position, disturb=1)
        assert other["total"] != pytest.approx(parts["total"], rel=1e-3)
