"""The refinement of photographs: it fits open faces, leaves occluders out, and each photograph by itself."""

import pytest
import torch

from focus_ray import model as models
from focus_ray.focus.photo_fit import (
    PhotoFit,
    PhotoFitSettings,
    expected_light,
    fit_photographs,
    is_grey,
    landmark_weights,
)
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from focus_ray.model import Model
from focus_ray.model_location import SHIPPED_MODELS

SHORT = PhotoFitSettings(image_size=96).with_steps(24)
BLUE = torch.tensor([0.2, 0.4, 0.8]).reshape(3, 1, 1)


@pytest.fixture(scope="module")
def model() -> Model:
    return models.load(SHIPPED_MODELS["embedded"])


@pytest.fixture(scope="module")
def photographs(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rendered faces with mouth and chin behind a blue cloth, and the true landmarks."""
    theta = sample_theta(SamplingDistributions(), 2, make_generator(5))
    with torch.no_grad():
        rendering = model.focus.renderer(theta)
    images = rendering.image.clamp(0, 1).clone()
    images = torch.where(rendering.mask > 0, images, torch.full_like(images, 0.4))
    images[:, :, 42:60] = BLUE
    return images, rendering.landmarks


def fit(model: Model, images: torch.Tensor, landmarks: torch.Tensor, **options) -> PhotoFit:
    assert model.appearance is not None
    detailed = torch.nn.functional.interpolate(images, size=(96, 96), mode="bilinear")
    theta = model.focus.encoder(images).detach()
    return fit_photographs(
        model.focus, model.appearance, images, detailed, theta, landmarks, options.pop("settings", SHORT), **options
    )


def test_the_cloth_is_cut_out_and_does_not_colour_the_face(model: Model, photographs):
    images, landmarks = photographs
    found = fit(model, images, landmarks)
    assert found.rendering.image.shape == (2, 3, 96, 96)
    seen = found.rendering.mask > 0
    cloth = torch.zeros_like(seen)
    cloth[:, :, 66:86] = True
    assert float((found.mask > 0.5)[seen & cloth].float().mean()) < 0.1
    assert float((found.mask > 0.5)[seen & ~cloth].float().mean()) > 0.7
    below = (seen & cloth)[:, 0]
    red, blue = found.rendering.image[:, 0][below].mean(), found.rendering.image[:, 2][below].mean()
    assert red > blue


def test_the_landmarks_come_nearer(model: Model, photographs):
    images, landmarks = photographs
    with torch.no_grad():
        before = model.focus.autoencoder(images).rendering.landmarks
    after = (fit(model, images, landmarks).rendering.landmarks + 0.5) * (64 / 96) - 0.5
    assert float((after - landmarks).norm(dim=2).mean()) < float((before - landmarks).norm(dim=2).mean())


def test_landmarks_of_the_model_lead_less(model: Model, photographs):
    images, landmarks = photographs
    moved = landmarks + torch.tensor([4.0, 0.0])
    nearer = []
    for detected in (True, False):
        found = fit(model, images, moved, detected=torch.full((2,), detected))
        own = (found.rendering.landmarks + 0.5) * (64 / 96) - 0.5
        nearer.append(float((own - moved).norm(dim=2).mean()))
    assert nearer[0] < nearer[1]


def test_a_photograph_does_not_depend_on_the_batch(model: Model, photographs):
    images, landmarks = photographs
    two = fit(model, images, landmarks)
    four = fit(model, images.repeat(2, 1, 1, 1), landmarks.repeat(2, 1, 1))
    torch.testing.assert_close(four.theta[:2], two.theta, rtol=0, atol=0)
    torch.testing.assert_close(four.mask[:2], two.mask, rtol=0, atol=0)


def test_the_skin_of_a_black_and_white_photograph_looks_grey(model: Model, photographs):
    images, landmarks = photographs
    grey = images.mean(dim=1, keepdim=True).expand_as(images).contiguous()
    assert is_grey(grey).all()
    assert not is_grey(images).any()
    assert model.appearance is not None
    light = expected_light(model.focus.face_model, model.appearance, torch.stack([grey[0], images[0]]))
    torch.testing.assert_close(light[1], model.appearance.light_mean)
    assert light[0, 18] > light[0, 0]  # more blue than red, because skin is red
    found = fit(model, grey, landmarks)
    shown = (found.mask > 0.5)[:, 0]
    colours = found.rendering.image.movedim(1, -1)[shown]
    assert float((colours.amax(dim=1) - colours.amin(dim=1)).mean()) < 0.06


def test_steps_are_divided_between_the_stages():
    settings = PhotoFitSettings()
    assert settings.with_steps(settings.steps) == settings
    for steps in (1, 2, 9, 100):
        assert settings.with_steps(steps).steps == steps


def test_precise_landmarks_weigh_more():
    weights = landmark_weights()
    assert weights.shape == (68,)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    brow, jaw, eye = weights[19], weights[8], weights[40]
    assert brow < jaw < eye
