"""Refinement descends each image's own loss, and no image touches another."""

import itertools
from collections.abc import Callable

import pytest
import torch

from focus_ray import model
from focus_ray.focus import refine as refine_module
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import ParameterScales
from focus_ray.focus.refine import (
    FAST_REFINE,
    RefineSettings,
    fitting_loss,
    learning_rate,
    refine,
    refine_with_segmenter,
    trusted_mask,
)
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta

SCALES = ParameterScales(albedo=1.0, translation_xy=10.0, translation_z=30.0)


def region_of(_: torch.Tensor, rendering: Rendering) -> torch.Tensor:
    return rendering.mask


@pytest.fixture(scope="module")
def renderer(ellipsoid_face) -> Renderer:
    return Renderer(ellipsoid_face, Camera(image_size=32))


@pytest.fixture(scope="module")
def faces(renderer):
    theta = sample_theta(SamplingDistributions(), 3, make_generator(0))
    rendering = renderer(theta)
    return rendering.image.clamp(0, 1), rendering.landmarks


@pytest.fixture(scope="module")
def start() -> torch.Tensor:
    offset, _ = SCALES.vectors()
    return offset.expand(3, -1).clone()


def test_it_comes_closer_in_colour_and_landmarks(renderer, faces, start):
    images, landmarks = faces
    before = renderer(start)
    after = refine(renderer, SCALES, images, start, region_of, landmarks, RefineSettings(steps=40))

    def colour(rendering: Rendering) -> torch.Tensor:
        return ((rendering.image - images) * rendering.mask).square().mean()

    def distance(rendering: Rendering) -> torch.Tensor:
        return (rendering.landmarks - landmarks).norm(dim=-1).mean()

    assert colour(after.rendering) < 0.3 * colour(before)
    assert distance(after.rendering) < 0.3 * distance(before)


EARLIER = {  # of the config.json and model.json of runs from before the fast settings
    "steps": 50,
    "lr": 0.12,
    "pixel": 3.0,
    "landmark": 0.005,
    "regularizer": 0.1 / 224,
    "mask_every": 4,
    "trusting_share": 0.2,
    "trusting_factor": 2.0,
}


def final_loss(renderer, images, start, landmarks, settings: RefineSettings) -> tuple[torch.Tensor, int]:
    """Loss of each image after the refinement, and the number of renders."""
    renders = []
    hook = renderer.register_forward_pre_hook(lambda *_: renders.append(1))
    theta = refine(renderer, SCALES, images, start, region_of, landmarks, settings).theta
    hook.remove()
    rendering = renderer(theta)
    return fitting_loss(images, rendering, rendering.mask, theta, landmarks, RefineSettings()), len(renders)


def test_the_fast_settings_fit_as_well_as_the_earlier_ones_in_half_of_the_renders(renderer):
    rendering = renderer(sample_theta(SamplingDistributions(), 16, make_generator(1)))
    images, landmarks = rendering.image.clamp(0, 1), rendering.landmarks
    start = SCALES.vectors()[0].expand(16, -1).clone()
    earlier, many = final_loss(renderer, images, start, landmarks, RefineSettings.model_validate(EARLIER))
    fast, few = final_loss(renderer, images, start, landmarks, FAST_REFINE)
    assert few <= many / 2
    assert fast.mean() < 1.05 * earlier.mean()
    assert fast.median() < 1.05 * earlier.median()


def test_more_fast_steps_come_close_to_a_face_without_noise(renderer, faces, start):
    images, landmarks = faces
    settings = FAST_REFINE.model_copy(update={"steps": 150, "regularizer": 0.0})
    after = refine(renderer, SCALES, images, start, region_of, landmarks, settings)
    colour = ((after.rendering.image - images) * after.rendering.mask).square().sum(1).sqrt()
    assert colour.sum() / after.rendering.mask.sum() < 0.02
    assert (after.rendering.landmarks - landmarks).norm(dim=-1).mean() < 0.2


def test_settings_of_earlier_runs_keep_their_meaning():
    earlier = RefineSettings.model_validate(EARLIER)
    assert earlier == RefineSettings()
    assert (earlier.betas, earlier.lr_decay) == ((0.9, 0.999), "cosine")
    assert earlier.model_dump(mode="json") == EARLIER  # and the digest of a configuration with them
    assert RefineSettings.model_validate_json(FAST_REFINE.model_dump_json()) == FAST_REFINE


def test_the_rate_falls_from_its_full_value_towards_zero():
    linear = RefineSettings(steps=4, lr=0.2, lr_decay="linear")
    cosine = RefineSettings(steps=4, lr=0.2)
    assert [learning_rate(linear, step) for step in range(4)] == pytest.approx([0.2, 0.15, 0.1, 0.05])
    assert [learning_rate(cosine, step) for step in range(4)] == pytest.approx([0.2, 0.1707, 0.1, 0.0293], abs=1e-4)


def test_no_steps_leave_the_encoders_answer(renderer, faces, start):
    after = refine(renderer, SCALES, faces[0], start, region_of, settings=RefineSettings(steps=0))
    assert torch.allclose(after.theta, start)


@pytest.mark.parametrize("settings", [RefineSettings(steps=5), FAST_REFINE.model_copy(update={"steps": 5})])
def test_an_image_is_refined_the_same_whoever_its_neighbours_are(renderer, faces, start, settings):
    images, landmarks = faces
    together = refine(renderer, SCALES, images, start, region_of, landmarks, settings).theta
    alone = refine(renderer, SCALES, images[1:2], start[1:2], region_of, landmarks[1:2], settings).theta
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_an_image_that_is_not_finite_stays_where_it_is_and_harms_nobody(renderer, faces, start):
    images, landmarks = faces
    spoilt = landmarks.clone()
    spoilt[0] = float("nan")
    settings = RefineSettings(steps=5)
    after = refine(renderer, SCALES, images, start, region_of, spoilt, settings).theta
    healthy = refine(renderer, SCALES, images, start, region_of, landmarks, settings).theta
    assert torch.allclose(after[0], start[0])
    assert torch.allclose(after[1:], healthy[1:], atol=1e-4)


def broken_from(first: int, last: int) -> Callable[[torch.Tensor, Rendering], torch.Tensor]:
    """The whole region as mask; not a number for the first image from one look to another."""
    looks = itertools.count()

    def mask_of(_: torch.Tensor, rendering: Rendering) -> torch.Tensor:
        mask = rendering.mask.clone()
        mask[0] = torch.nan if first <= next(looks) <= last else mask[0]
        return mask

    return mask_of


@pytest.mark.parametrize("kind", [RefineSettings(), FAST_REFINE])
def test_an_image_that_breaks_on_the_way_stays_exactly_where_it_broke(renderer, faces, start, kind):
    images, landmarks = faces
    path = []
    hook = renderer.register_forward_pre_hook(lambda _, inputs: path.append(inputs[0].detach().clone()))
    settings = kind.model_copy(update={"steps": 8, "mask_every": 1})
    after = refine(renderer, SCALES, images, start, broken_from(3, 99), landmarks, settings).theta
    hook.remove()
    healthy = refine(renderer, SCALES, images, start, region_of, landmarks, settings).theta
    assert not torch.allclose(path[3][0], path[2][0], atol=1e-3)  # on its way with all of Adam's momentum
    assert torch.equal(after[0], path[3][0])
    assert torch.equal(after[1:], healthy[1:])


def test_an_image_that_breaks_for_one_step_goes_on_after_it(renderer, faces, start):
    images, landmarks = faces
    path = []
    hook = renderer.register_forward_pre_hook(lambda _, inputs: path.append(inputs[0].detach().clone()))
    settings = RefineSettings(steps=8, mask_every=1)
    after = refine(renderer, SCALES, images, start, broken_from(3, 3), landmarks, settings).theta
    hook.remove()
    assert torch.equal(path[4][0], path[3][0])
    assert bool(after.isfinite().all())
    assert not torch.allclose(after[0], path[4][0], atol=1e-3)


def test_masked_pixels_do_not_count(renderer, faces, start):
    images, _ = faces
    painted = images.clone()
    painted[..., 10:20, 10:20] = 1.0
    visible = torch.ones(3, 1, 32, 32)
    visible[..., 10:20, 10:20] = 0.0

    def visible_of(_: torch.Tensor, rendering: Rendering) -> torch.Tensor:
        return rendering.mask * visible

    settings = RefineSettings(steps=5)
    clean, occluded = (refine(renderer, SCALES, x, start, visible_of, None, settings).theta for x in (images, painted))
    assert torch.allclose(clean, occluded, atol=1e-5)


def test_the_mask_is_estimated_anew_every_so_many_steps(renderer, faces, start):
    calls = []

    def counted(images: torch.Tensor, rendering: Rendering) -> torch.Tensor:
        calls.append(len(images))
        return rendering.mask

    refine(renderer, SCALES, faces[0], start, counted, settings=RefineSettings(steps=10, mask_every=4))
    assert calls == [3, 3, 3, 3]  # steps 0, 4, 8 and the end


def test_the_first_steps_trust_what_is_explained_best(renderer, faces, start):
    laws = []

    def first(images: torch.Tensor, rendering: Rendering) -> torch.Tensor:
        laws.append("first")
        return rendering.mask

    def later(images: torch.Tensor, rendering: Rendering) -> torch.Tensor:
        laws.append("later")
        return rendering.mask

    settings = RefineSettings(steps=10, mask_every=4, trusting_share=0.5)
    refine(renderer, SCALES, faces[0], start, later, settings=settings, initial_mask_fn=first)
    assert laws == ["first", "first", "later", "later", "later"]  # steps 0, 4, 5, 8 and the end


def test_trusted_pixels_are_those_below_a_multiple_of_their_images_median(renderer, start):
    rendering = renderer(start)
    images = rendering.image.clone()
    inside = rendering.mask > 0
    images[:, :, :16] += 0.1  # half of the picture is off by little, a corner of the other half by much
    images[:, :, 16:] += 0.15
    images[0, :, 20:30, 12:22] += 0.9
    trust = trusted_mask(images, rendering, 2.0)
    assert not (trust.bool() & ~inside).any()
    assert trust[0, 0, 21:29, 13:21].sum() == 0
    assert trust[1:].sum() == inside[1:].sum()


def test_pixels_known_to_be_hidden_do_not_raise_the_bound(renderer, start):
    rendering = renderer(start)
    hidden = torch.zeros_like(rendering.mask)
    hidden[:, :, 12:] = 1
    images = rendering.image + 0.02 + 0.6 * hidden + 0.1 * (torch.arange(32) % 4 == 0)
    open_part = (rendering.mask > 0) & (hidden == 0)
    trust, unaware = trusted_mask(images, rendering, 2.0, hidden), trusted_mask(images, rendering, 2.0)
    assert trust[hidden.bool()].sum() == 0
    assert 0 < trust[open_part].sum() < unaware[open_part].sum()


def test_all_of_a_perfect_rendering_is_trusted(renderer, start):
    rendering = renderer(start)
    images = torch.where(rendering.mask > 0, rendering.image, 0.37)
    assert torch.equal(trusted_mask(images, rendering, 2.0), rendering.mask)


def test_the_model_refines_under_trusted_pixels_first_and_then_under_its_segmenter(ellipsoid_face, monkeypatch):
    settings = model.ModelSettings(
        camera=Camera(image_size=32),
        scales=SCALES,
        encoder=model.EncoderSettings(kind="small", width=4),
        segmenter=model.SegmenterSettings(width=4, levels=2),
        perceptual=model.PerceptualSettings(kind="warmup_encoder"),
    )
    focus = model.build(settings, ellipsoid_face).eval()
    asked = []

    def spy(images: torch.Tensor, rendering: Rendering, factor: float) -> torch.Tensor:
        asked.append(f"trusted {factor}")
        return trusted_mask(images, rendering, factor)

    monkeypatch.setattr(refine_module, "trusted_mask", spy)
    focus.segmenter.register_forward_pre_hook(lambda *_: asked.append("segmenter"))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        theta = focus.encoder(images)
    refined = refine_with_segmenter(
        focus, images, theta, settings=RefineSettings(steps=10, mask_every=4, trusting_share=0.5, trusting_factor=1.5)
    )
    assert asked == ["trusted 1.5"] * 2 + ["segmenter"] * 3  # steps 0, 4 | 5, 8 and the end
    torch.testing.assert_close(refined.mask, focus.mask(images, refined.rendering).detach())
