"""Refinement descends each image's own loss, and no image touches another."""

import pytest
import torch

from focus_ray.focus.face.camera import Camera
from focus_ray.focus.face.parameters import ParameterScales
from focus_ray.focus.refine import RefineSettings, refine, trusted
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.focus.synthesis import SamplingLaws, generator, sample_theta

SCALES = ParameterScales(albedo=1.0, translation_xy=10.0, translation_z=30.0)


def region_of(_: torch.Tensor, rendering: Rendering) -> torch.Tensor:
    return rendering.mask


@pytest.fixture(scope="module")
def renderer(toy_model) -> Renderer:
    return Renderer(toy_model, Camera(image_size=32))


@pytest.fixture(scope="module")
def faces(renderer):
    theta = sample_theta(SamplingLaws(), 3, generator(0))
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


def test_no_steps_leave_the_encoders_answer(renderer, faces, start):
    after = refine(renderer, SCALES, faces[0], start, region_of, settings=RefineSettings(steps=0))
    assert torch.allclose(after.theta, start)


def test_an_image_is_refined_the_same_whoever_its_neighbours_are(renderer, faces, start):
    images, landmarks = faces
    settings = RefineSettings(steps=5)
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
    refine(renderer, SCALES, faces[0], start, later, settings=settings, first_mask_of=first)
    assert laws == ["first", "first", "later", "later", "later"]  # steps 0, 4, 5, 8 and the end


def test_trusted_pixels_are_those_below_a_multiple_of_their_images_median(renderer, start):
    rendering = renderer(start)
    images = rendering.image.clone()
    inside = rendering.mask > 0
    images[:, :, :16] += 0.1  # half of the picture is off by little, a corner of the other half by much
    images[:, :, 16:] += 0.15
    images[0, :, 20:30, 12:22] += 0.9
    trust = trusted(images, rendering, 2.0)
    assert not (trust.bool() & ~inside).any()
    assert trust[0, 0, 21:29, 13:21].sum() == 0
    assert trust[1:].sum() == inside[1:].sum()
