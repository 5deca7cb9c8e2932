"""One network learns, the other one rests; the area weight follows the fit; refined renderings say what S must find."""

import copy

import pytest
import torch

from focus_ray.focus import em, losses
from focus_ray.focus.em import (
    AreaCalibration,
    EmSettings,
    calibrate_area_weight,
    interleave,
    recalibrate,
    reconstruction_step,
    segmentation_step,
    segmentation_terms,
)
from focus_ray.focus.losses import ReconstructionWeights, SegmentationWeights
from focus_ray.focus.pooled_ratio import PooledRatio
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition
from focus_ray.focus.state import StepMetrics, Targets, TrainState
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random

BATCH = 4
OF_S = SchedulePosition(Phase.EM_SEG, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=0)
OF_R = SchedulePosition(Phase.EM_FACE, cycle=0, in_phase=0, phase_total=10, in_block=0, in_stage=5)
OPTIMIZER = OptimizerSettings(lr=1e-3)
REFINED = EmSettings(refined_comparison=RefineSettings(steps=2, lr=0.15))


@pytest.fixture
def batch(state) -> Targets:
    renderer = state.focus.renderer
    images, theta = render_random(renderer, SamplingDistributions(), BATCH, make_generator(7))
    images[:, :, 10:20, 8:16] = 0.5  # an occluder
    return Targets(images, renderer(theta).landmarks)


@pytest.fixture
def elsewhere(state, monkeypatch) -> Rendering:
    """What the refinement is made to answer: the mean face, 2 px to the right."""
    theta = state.focus.scales.vectors()[0].expand(BATCH, -1).clone()
    theta[:, -3] += 15.0
    rendering = state.focus.renderer(theta)
    monkeypatch.setattr(em, "descend", lambda *_: (theta, rendering))
    return rendering


def made_up(image: torch.Tensor, mask: torch.Tensor) -> Rendering:
    """A rendering of which only picture and region matter."""
    count, _, height, width = image.shape
    return Rendering(
        image=image,
        mask=mask,
        depth=torch.zeros(count, 1, height, width),
        landmarks=torch.zeros(count, 68, 2),
        triangle_ids=torch.zeros(count, height, width, dtype=torch.long),
        vertices=torch.zeros(count, 3, 3),
        vertices_screen=torch.zeros(count, 3, 3),
    )


def black(size: int = 4) -> Targets:
    return Targets(torch.zeros(1, 3, size, size), torch.zeros(1, 68, 2))


def poisoned(batch: Targets) -> Targets:
    images = batch.images.clone()
    images[2, 1, 16, 16] = torch.nan
    return batch._replace(images=images)


def kept(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters and buffers that are no longer what they were."""
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def one_pass_of(state: TrainState, batch: Targets) -> Rendering:
    state.focus.autoencoder.eval()
    with torch.no_grad():
        return state.focus.autoencoder(batch.images).rendering


@pytest.mark.parametrize(
    ("factor", "threshold"),
    [
        (2.0, 0.1),  # inside the bounds: twice the median 0.05
        (1.0, 0.08),  # the lower bound
        (10.0, 0.3),  # the upper bound
    ],
)
@pytest.mark.parametrize("squared", [False, True])
def test_the_area_weight_is_eta_nbr_times_f_times_the_cost_of_the_threshold(factor, threshold, squared):
    image = torch.full((1, 3, 4, 4), 0.9)  # nothing outside the region counts
    image[0, :, 1, :3] = 0.0
    image[0, 0, 1, :3] = torch.tensor([0.2, 0.02, 0.05])
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 1, :3] = 1
    settings = EmSettings(
        segmentation=SegmentationWeights(eta_nbr=7.0, neighbor_window=1, neighbor_squared=squared),
        calibration=AreaCalibration(factor=factor, low=0.08, high=0.3),
    )
    expected = 7.0 * 3 / 16 * (threshold**2 if squared else threshold)
    assert calibrate_area_weight(black(), made_up(image, mask), settings) == pytest.approx(expected, rel=1e-5)


def one_bright_pixel() -> tuple[Targets, torch.Tensor]:
    """A target that is black but for one pixel, and that pixel as the region."""
    targets, mask = black(), torch.zeros(1, 1, 4, 4)
    targets.images[0, :, 2, 2] = 0.5
    mask[0, 0, 2, 2] = 1
    return targets, mask


@pytest.mark.parametrize(("window", "threshold"), [(1, 0.3), (3, 0.08)])
def test_the_calibration_looks_as_far_around_as_the_neighbour_loss(window, threshold):
    targets, mask = one_bright_pixel()
    shifted = made_up(targets.images.roll(1, 3), mask)
    settings = EmSettings(
        segmentation=SegmentationWeights(neighbor_window=window, neighbor_squared=False), calibration=AreaCalibration()
    )
    assert calibrate_area_weight(targets, shifted, settings) == pytest.approx(15 / 16 * threshold, rel=1e-5)


@pytest.mark.parametrize(("centre", "threshold"), [("target", 0.3), ("rendering", 0.08)])
def test_the_calibration_takes_the_centre_of_the_neighbour_loss(centre, threshold):
    targets, mask = one_bright_pixel()
    nothing = made_up(torch.zeros(1, 3, 4, 4), mask)  # a black pixel has black neighbours in the target
    settings = EmSettings(segmentation=SegmentationWeights(neighbor_centre=centre, neighbor_squared=False))
    assert calibrate_area_weight(targets, nothing, settings) == pytest.approx(15 / 16 * threshold, rel=1e-5)


def test_where_no_face_is_rendered_the_configured_area_weight_stays():
    settings = EmSettings(segmentation=SegmentationWeights(eta_area=0.7), calibration=AreaCalibration())
    nobody = made_up(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    assert calibrate_area_weight(black(), nobody, settings) == 0.7


@pytest.mark.parametrize(("known", "share_of_measured"), [(None, 1.0), (2.0, 0.25)])
def test_a_step_of_s_moves_the_area_weight_by_the_rate_and_uses_it(state, batch, known, share_of_measured):
    settings = EmSettings(calibration=AreaCalibration(rate=0.25))
    measured = calibrate_area_weight(batch, one_pass_of(state, batch), settings)
    state.area_weight = known
    _, metrics = segmentation_step(state, batch, OF_S, settings, OPTIMIZER)
    expected = share_of_measured * measured + (1 - share_of_measured) * (known or 0.0)
    assert state.area_weight == pytest.approx(expected)
    parts = metrics.losses
    total = 15 * parts["nbr"] + 3 * parts["dist"] + expected * parts["area"] + 2.5 * parts["presv"] + 10 * parts["bin"]
    assert parts["total"] == pytest.approx(total, rel=1e-4)


def test_with_refinement_the_area_weight_follows_the_refined_fit(state, batch, elsewhere):
    settings = REFINED.model_copy(update={"calibration": AreaCalibration()})
    of_one_pass = calibrate_area_weight(batch, one_pass_of(state, batch), settings)
    segmentation_step(state, batch, OF_S, settings, OPTIMIZER)
    assert state.area_weight == pytest.approx(calibrate_area_weight(batch, elsewhere, settings))
    assert state.area_weight != pytest.approx(of_one_pass, rel=1e-3)


def test_without_calibration_the_area_weight_is_the_configured_one_until_it_was_recalibrated(state, batch):
    settings = EmSettings(segmentation=SegmentationWeights(eta_nbr=0, eta_dist=0, eta_presv=0, eta_bin=0, eta_area=0.5))
    _, metrics = segmentation_step(state, batch, OF_S, settings, OPTIMIZER)
    assert state.area_weight is None
    assert metrics.losses["total"] == pytest.approx(0.5 * metrics.losses["area"])
    state.area_weight = 3.0
    _, metrics = segmentation_step(state, batch, OF_S, settings, OPTIMIZER)
    assert metrics.losses["total"] == pytest.approx(3.0 * metrics.losses["area"])
    assert state.area_weight == 3.0


def test_a_skipped_step_of_s_moves_neither_the_area_weight_nor_the_network(state, batch):
    state.area_weight = 2.0
    before = kept(state.focus.segmenter)
    settings = EmSettings(calibration=AreaCalibration(rate=0.25))
    _, metrics = segmentation_step(state, poisoned(batch), OF_S, settings, OPTIMIZER)
    assert metrics.skipped
    assert state.area_weight == 2.0
    assert changed(state.focus.segmenter, before) == set()


def test_s_sees_one_pass_and_refined_renderings_in_turns():
    mask = torch.ones(4, 1, 2, 2)
    one_pass, refined = (
        made_up(0.1 * mask.expand(-1, 3, -1, -1), mask),
        made_up(torch.full((4, 3, 2, 2), 0.7), 0 * mask),
    )
    seen = interleave(one_pass, refined)
    assert seen.image[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.7, 0.1, 0.7])
    assert seen.mask[:, 0, 0, 0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("first", "turns"), [(0, [0, 1, 0, 1]), (3, [1, 0, 1, 0]), (4, [0, 1, 0, 1])])
def test_turns_are_taken_in_the_global_batch(first, turns):
    mask = torch.ones(4, 1, 2, 2)
    seen = interleave(
        made_up(0 * mask.expand(-1, 3, -1, -1), mask), made_up(mask.expand(-1, 3, -1, -1), 0 * mask), first
    )
    assert seen.image[:, 0, 0, 0].tolist() == turns
    assert seen.mask[:, 0, 0, 0].tolist() == [1 - turn for turn in turns]


class Watched:
    """What a step of S hands to its segmenter and to its losses."""

    def __init__(self, state: TrainState, monkeypatch: pytest.MonkeyPatch):
        self.rendered = self.compared = self.mask = self.region = None
        state.focus.segmenter.register_forward_pre_hook(self.see)
        self.genuine = em.segmentation_terms
        monkeypatch.setattr(em, "segmentation_terms", self.compare)

    def see(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.rendered = inputs[0]

    def compare(self, focus, batch, rendering, mask, region, weights):
        self.compared, self.mask, self.region = rendering, mask, region
        return self.genuine(focus, batch, rendering, mask, region, weights)


def test_with_refinement_s_is_compared_with_it_and_only_where_both_renderings_are(state, batch, elsewhere, monkeypatch):
    one_pass = one_pass_of(state, batch)
    both = one_pass.mask * elsewhere.mask
    assert 0 < both.sum() < min(one_pass.mask.sum(), elsewhere.mask.sum())
    watched = Watched(state, monkeypatch)
    _, metrics = segmentation_step(state, batch, OF_S, REFINED, OPTIMIZER)
    assert all(torch.equal(value, vars(elsewhere)[name]) for name, value in vars(watched.compared).items())
    assert torch.equal(watched.rendered[::2], one_pass.image[::2])
    assert torch.equal(watched.rendered[1::2], elsewhere.image[1::2])
    assert torch.equal(watched.region[::2], both[::2])
    assert torch.equal(watched.region[1::2], elsewhere.mask[1::2])
    assert torch.equal(watched.mask > 0, watched.region > 0)
    assert metrics.mask_mean == pytest.approx(float((watched.mask.sum() / watched.region.sum()).detach()))


KEEPING = EmSettings(refined_comparison=RefineSettings(steps=2, lr=0.15, trusting_share=1.0), keep_fits=True)


def test_known_images_are_not_refined_again_and_look_the_same(state, batch, monkeypatch):
    numbered = batch._replace(numbers=(5, 3, 8, 1))
    first = em.render_pair(state.focus, numbered, KEEPING, state.kept_fits)
    assert sorted(state.kept_fits) == [1, 3, 5, 8]
    monkeypatch.setattr(em, "descend", lambda *_: pytest.fail("refined again"))
    turned = Targets(batch.images.flip(0), batch.landmarks.flip(0), numbers=(1, 8, 3, 5))
    again = em.render_pair(state.focus, turned, KEEPING, state.kept_fits)
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before.image, after.image.flip(0))


def test_a_new_image_has_its_batch_refined(state, batch):
    em.render_pair(state.focus, batch._replace(numbers=(1, 2, 3, 4)), KEEPING, state.kept_fits)
    new = Targets(batch.images.flip(3), batch.landmarks, numbers=(1, 2, 3, 9))
    _, refined = em.render_pair(state.focus, new, KEEPING, state.kept_fits)
    assert torch.equal(refined.image, em.render_pair(state.focus, new, KEEPING)[1].image)


def test_fits_are_kept_until_r_changes(state, batch):
    numbered = batch._replace(numbers=(1, 2, 3, 4))
    segmentation_step(state, numbered, OF_S, KEEPING, OPTIMIZER)
    assert len(state.kept_fits) == BATCH
    reconstruction_step(state, numbered, OF_R, KEEPING, OPTIMIZER)
    assert not state.kept_fits
    segmentation_step(state, batch, OF_S, KEEPING, OPTIMIZER)
    assert not state.kept_fits, "images without numbers are not kept"


def test_kept_fits_must_not_depend_on_s():
    for refine in (None, RefineSettings()):
        with pytest.raises(ValueError, match="trusting_share = 1"):
            EmSettings(refined_comparison=refine, keep_fits=True)


def test_pasted_pixels_do_not_set_the_area_weight(state, batch):
    rendering = one_pass_of(state, batch)
    pasted = torch.zeros_like(rendering.mask)
    pasted[:, :, : pasted.shape[2] // 2] = 1
    images = torch.where(pasted.bool(), rendering.image + 1.0, batch.images)
    settings = EmSettings(calibration=AreaCalibration(factor=1.0, low=1e-3, high=1.7))
    plain = calibrate_area_weight(batch._replace(planted=pasted), rendering, settings)
    assert calibrate_area_weight(batch._replace(images=images, planted=pasted), rendering, settings) == plain
    assert calibrate_area_weight(batch._replace(images=images), rendering, settings) > plain


def test_without_refinement_s_sees_and_is_compared_with_the_one_pass_rendering(state, batch, monkeypatch):
    def never(*_):
        raise AssertionError("the paper's S knows of no refinement")

    monkeypatch.setattr(em, "descend", never)
    one_pass = one_pass_of(state, batch)
    watched = Watched(state, monkeypatch)
    segmentation_step(state, batch, OF_S, EmSettings(), OPTIMIZER)
    assert torch.equal(watched.rendered, one_pass.image)
    assert torch.equal(watched.compared.image, one_pass.image)
    assert torch.equal(watched.region, one_pass.mask)


@pytest.mark.parametrize("settings", [EmSettings(), REFINED], ids=["one_pass", "refined"])
def test_a_step_of_s_trains_s_once_and_leaves_r_as_it_was(state, batch, settings):
    encoder, segmenter = kept(state.focus.encoder), kept(state.focus.segmenter)
    segmentation_step(state, batch, OF_S, settings, OPTIMIZER)
    assert changed(state.focus.encoder, encoder) == set()
    assert {"last.weight", "down.0.0.weight", "down.0.1.running_mean"} <= changed(state.focus.segmenter, segmenter)
    assert (
        state.focus.segmenter.state_dict()["down.0.1.num_batches_tracked"] == 1
    )  # the refinement's looks do not count


@pytest.mark.parametrize("detach", [True, False])
def test_a_step_of_r_trains_r_once_and_leaves_s_as_it_was(state, batch, detach):
    encoder, segmenter = kept(state.focus.encoder), kept(state.focus.segmenter)
    settings = EmSettings(reconstruction=ReconstructionWeights(detach_mask=detach))
    reconstruction_step(state, batch, OF_R, settings, OPTIMIZER)
    assert changed(state.focus.segmenter, segmenter) == set()
    assert all(parameter.grad is None for parameter in state.focus.segmenter.parameters())
    assert {"head.weight", "stem.0.weight", "stem.1.running_mean"} <= changed(state.focus.encoder, encoder)
    assert state.focus.encoder.state_dict()["stem.1.num_batches_tracked"] == 1


def test_s_learns_again_after_a_step_of_r(state, batch):
    reconstruction_step(state, batch, OF_R, EmSettings(), OPTIMIZER)
    before = kept(state.focus.segmenter)
    segmentation_step(state, batch, OF_S, EmSettings(), OPTIMIZER)
    assert "last.weight" in changed(state.focus.segmenter, before)


@pytest.mark.parametrize("detach", [True, False])
def test_the_pixel_loss_reaches_r_through_the_mask_only_where_it_is_not_detached(state, batch, detach, monkeypatch):
    focus, found = state.focus, {}
    bias = focus.encoder.head.bias
    with torch.no_grad():
        focus.segmenter.last.weight.mul_(300.0)  # masks that differ from pixel to pixel

    def gradient(state, position, network, settings, count, objective_of) -> StepMetrics:
        objective = objective_of(network.train(), slice(0, count))
        total = objective.total({symbol: term.ratio() for symbol, term in objective.terms.items()})
        (found["gradient"],) = torch.autograd.grad(total, bias)
        return StepMetrics({}, None, skipped=False)

    monkeypatch.setattr(em, "optimize_step", gradient)
    only_pixel = ReconstructionWeights(lambda_per=0, lambda_lm=0, lambda_reg=0, detach_mask=detach)
    reconstruction_step(state, batch, OF_R, EmSettings(reconstruction=only_pixel), OPTIMIZER)

    rendering = focus.autoencoder(batch.images).rendering
    mask = focus.mask(batch.images, rendering)
    constant, through_mask = (
        torch.autograd.grad(0.5 * losses.pixel(batch.images, rendering.image, m), bias, retain_graph=True)[0]
        for m in (mask.detach(), mask)
    )
    assert (constant - through_mask).abs().max() > 1e-2 * constant.abs().max()
    torch.testing.assert_close(found["gradient"], constant if detach else through_mask)


@pytest.mark.parametrize("detach", [True, False])
def test_the_area_alone_moves_r_only_where_the_mask_is_not_detached(state, batch, detach):
    only_area = ReconstructionWeights(
        lambda_pixel=0, lambda_per=0, lambda_lm=0, lambda_reg=0, lambda_area=0.06, detach_mask=detach
    )
    before = kept(state.focus.encoder)
    reconstruction_step(state, batch, OF_R, EmSettings(reconstruction=only_area), OPTIMIZER)
    parameters = {name for name, _ in state.focus.encoder.named_parameters()}
    moved = changed(state.focus.encoder, before) & parameters
    assert ("head.bias" in moved) is not detach
    assert (moved == set()) is detach


def test_recalibration_forgets_the_old_area_weight_and_measures_the_compared_rendering(state, batch, elsewhere):
    state.area_weight = 123.0
    recalibrate(state, batch, REFINED)
    assert state.area_weight == calibrate_area_weight(batch, elsewhere, REFINED)
    one_pass = calibrate_area_weight(batch, one_pass_of(state, batch), REFINED)
    assert state.area_weight != pytest.approx(one_pass, rel=1e-3)


@pytest.mark.parametrize(
    ("weights", "perceptual", "symbols"),
    [
        ({}, True, {"nbr", "area", "bin", "dist", "presv"}),
        ({"eta_dist": 0}, True, {"nbr", "area", "bin", "presv"}),
        ({"eta_presv": 0}, True, {"nbr", "area", "bin", "dist"}),
        ({"eta_dist": 0, "eta_presv": 0}, True, {"nbr", "area", "bin"}),
        ({}, False, {"nbr", "area", "bin"}),
    ],
)
def test_terms_that_look_through_f_are_left_out_without_weight_or_without_f(state, batch, weights, perceptual, symbols):
    if not perceptual:
        state.focus.perceptual = None
    rendering = one_pass_of(state, batch)
    terms = segmentation_terms(
        state.focus, batch, rendering, 0.5 * rendering.mask, rendering.mask, SegmentationWeights(**weights)
    )
    assert set(terms) == symbols


def test_every_option_of_the_weights_reaches_its_loss(state, batch):
    rendering = one_pass_of(state, batch)
    region = rendering.mask
    mask = region * (0.3 + 0.4 * batch.images[:, :1])
    weights = SegmentationWeights(
        neighbor_window=5,
        neighbor_squared=False,
        neighbor_centre="rendering",
        neighbor_premultiplied=True,
        neighbor_normalise="mask",
        neighbor_border="drop",
        area_form="release",
        binary_form="release",
        binary_region_only=True,
        width_normalised=True,
    )
    terms = segmentation_terms(state.focus, batch, rendering, mask, region, weights)
    target, drawn, shallow = batch.images, rendering.image, state.focus.perceptual.shallow
    seen, explained, whole = (shallow(images, batch.landmarks) for images in (target * mask, drawn * mask, target))
    expected = {
        "nbr": losses.neighbor(
            target, drawn, mask, window=5, squared=False, centre="rendering", premultiplied=True, normalise="mask",
            border="drop",
        ),
        "area": losses.area(mask, region, form="release"),
        "bin": losses.binary(mask, region, form="release"),
        "dist": losses.dist(seen, explained, width_normalised=True),
        "presv": losses.presv(seen, whole, width_normalised=True),
    }  # fmt: skip
    paper = segmentation_terms(state.focus, batch, rendering, mask, region, SegmentationWeights())
    for symbol, value in expected.items():
        torch.testing.assert_close(terms[symbol].ratio(), value)
        assert float(value) != pytest.approx(float(paper[symbol].ratio()), rel=1e-3), symbol


@pytest.mark.parametrize("options", [{}, {"neighbor_normalise": "mask", "binary_region_only": True}])
def test_terms_of_parts_add_up_to_those_of_the_batch(state, batch, options):
    rendering = one_pass_of(state, batch)
    mask = rendering.mask * (0.3 + 0.4 * batch.images[:, :1])

    def terms(rows: slice) -> dict[str, PooledRatio]:
        part = rendering.rows(rows)
        return segmentation_terms(
            state.focus, batch.rows(rows), part, mask[rows], part.mask, SegmentationWeights(**options)
        )

    whole, some, others = (terms(rows) for rows in (slice(0, BATCH), slice(0, 1), slice(1, BATCH)))
    assert set(whole) == {"nbr", "area", "bin", "dist", "presv"}
    for symbol, term in whole.items():
        for total, one, other in zip(term, some[symbol], others[symbol], strict=True):
            torch.testing.assert_close(one + other, total)


def planted(batch: Targets) -> Targets:
    """The batch whose occluder is known to be pasted."""
    pixels = torch.zeros(BATCH, 1, *batch.images.shape[-2:])
    pixels[:, :, 10:20, 8:16] = 1
    return batch._replace(planted=pixels)


def test_s_learns_from_planted_pixels_only_if_their_term_has_a_weight(state, batch):
    weights = SegmentationWeights(eta_nbr=0, eta_dist=0, eta_presv=0, eta_bin=0, eta_area=0, eta_planted=2.0)
    _, metrics = segmentation_step(state, planted(batch), OF_S, EmSettings(segmentation=weights), OPTIMIZER)
    assert metrics.losses["total"] == pytest.approx(2.0 * metrics.losses["planted"])
    _, metrics = segmentation_step(state, planted(batch), OF_S, EmSettings(), OPTIMIZER)
    assert "planted" not in metrics.losses
    _, metrics = segmentation_step(state, batch, OF_S, EmSettings(segmentation=weights), OPTIMIZER)
    assert "planted" not in metrics.losses


def test_steps_of_s_lower_the_planted_term(state, batch):
    settings = EmSettings(segmentation=SegmentationWeights(eta_planted=50.0))
    steps = [segmentation_step(state, planted(batch), OF_S, settings, OPTIMIZER)[1] for _ in range(15)]
    assert steps[-1].losses["planted"] < 0.9 * steps[0].losses["planted"]


TRUSTING = RefineSettings(steps=2, lr=0.15, trusting_share=1.0, trusting_factor=1e6)  # all rendered pixels


def test_the_teacher_does_not_see_planted_pixels(state, batch):
    repainted = batch._replace(images=batch.images.clone())
    repainted.images[:, :, 10:20, 8:16] = 0.9
    theta = state.focus.scales.vectors()[0].expand(BATCH, -1).clone()
    first, second = (em.refine_theta(state.focus, planted(one), theta, TRUSTING) for one in (batch, repainted))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    seen = em.refine_theta(state.focus, repainted, theta, TRUSTING)
    assert not torch.allclose(first, seen)


def test_the_teacher_is_a_refined_fit_and_counts_by_its_weight(state, batch):
    weights = ReconstructionWeights(lambda_teacher=0.5)
    settings = EmSettings(reconstruction=weights, teacher=em.TeacherSettings(refine=TRUSTING))
    _, metrics = reconstruction_step(state, batch, OF_R, settings, OPTIMIZER)
    parts = metrics.losses
    paper = 0.5 * parts["pixel"] + 0.25 * parts["per"] + 5e-4 * parts["lm"] + 0.1 * parts["reg"]
    assert parts["teacher"] > 0
    assert parts["total"] == pytest.approx(paper + 0.5 * parts["teacher"], rel=1e-4)
    _, metrics = reconstruction_step(state, batch, OF_R, EmSettings(reconstruction=weights), OPTIMIZER)
    assert "teacher" not in metrics.losses
