"""Fit of a face model to pixels and landmarks without an encoder."""

import pytest
import torch

from focus_ray import model as models
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.fit_from_landmarks import FIT_SETTINGS, fit_from_landmarks
from focus_ray.model_location import SHIPPED_MODELS
from tests.inference.test_landmark_fit import CAMERA, random_theta

FEW = FIT_SETTINGS.with_steps(40)


@pytest.fixture(scope="module")
def model():
    return models.load(SHIPPED_MODELS["embedded"])


@pytest.fixture(scope="module")
def pictures(model):
    """Two faces rendered by the model's own face, under the usual light."""
    theta = random_theta(2, seed=3)
    split_theta(theta).light.copy_(model.appearance.light_mean)
    split_theta(theta).albedo.copy_(0.5 * torch.randn(2, 80, generator=torch.Generator().manual_seed(4)))
    with torch.no_grad():
        return theta, Renderer(model.focus.face_model, CAMERA)(theta)


def test_it_explains_what_its_own_face_shows(model, pictures):
    _, shown = pictures
    face, prior = model.focus.face_model, model.appearance
    fits = [
        fit_from_landmarks(
            face, prior, shown.image.clamp(0, 1), shown.landmarks, shown.mask, FIT_SETTINGS.with_steps(n)
        )
        for n in (0, 40)
    ]
    both = shown.mask * fits[0].rendering.mask * fits[1].rendering.mask
    residuals = [float((both * (fit.rendering.image - shown.image)).square().mean().sqrt()) for fit in fits]
    assert residuals[1] < 0.5 * residuals[0]
    assert float((fits[1].rendering.landmarks - shown.landmarks).norm(dim=-1).mean()) < 1.0  # px
    assert fits[1].theta.isfinite().all()


def test_pixels_without_weight_are_not_seen(model, pictures):
    _, shown = pictures
    image = shown.image.clamp(0, 1)
    pixels = shown.mask.clone()
    pixels[:, :, 100:140] = 0
    other = image.clone()
    other[:, :, 100:140] = torch.rand(2, 3, 40, 224, generator=torch.Generator().manual_seed(0))
    # At 64 px a row of the crop mixes 3.5 rows, which are weighted too.
    one, another = (
        fit_from_landmarks(model.focus.face_model, model.appearance, one, shown.landmarks, pixels, FEW)
        for one in (image, other)
    )
    assert torch.equal(one.theta, another.theta)


def test_a_face_with_fewer_modes_is_fitted_too(model, pictures):
    _, shown = pictures
    few = model.focus.face_model.truncate(10, 5, 3)
    fit = fit_from_landmarks(
        few, model.appearance, shown.image.clamp(0, 1), shown.landmarks, shown.mask, FIT_SETTINGS.with_steps(4)
    )
    parts = split_theta(fit.theta)
    assert parts.identity[:, 10:].abs().max() == 0
    assert parts.expression[:, 5:].abs().max() == 0
    assert parts.albedo[:, 3:].abs().max() == 0
