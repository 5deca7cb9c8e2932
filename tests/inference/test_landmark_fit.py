"""Pose and shape from landmarks alone."""

import pytest
import torch

from focus_ray import model as models
from focus_ray.errors import FaceModelError
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import THETA_MODES, join_theta, split_theta
from focus_ray.focus.photo_fit import PhotoFitSettings, landmark_weights
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.landmark_fit import fit_landmarks, with_theta_modes
from focus_ray.model_location import SHIPPED_MODELS

CAMERA = Camera(image_size=224)
SETTINGS = PhotoFitSettings()


@pytest.fixture(scope="module")
def face_model():
    return models.load(SHIPPED_MODELS["embedded"]).focus.face_model


def random_theta(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    parts = split_theta(torch.zeros(count, 257))
    draw = {name: torch.randn(getattr(parts, name).shape, generator=generator) for name in parts._fields}
    return join_theta(
        parts._replace(
            identity=0.7 * draw["identity"],
            expression=0.5 * draw["expression"],
            rotation=0.3 * draw["rotation"],
            translation=draw["translation"] * torch.tensor((8.0, 8.0, 40.0)),
        )
    )


def test_missing_modes_are_zero_and_change_nothing(face_model):
    padded = with_theta_modes(face_model.truncate(20, 12, 0))
    assert (padded.n_identity, padded.n_expression, padded.n_albedo) == THETA_MODES
    alpha, few = torch.randn(2, 144), face_model.truncate(20, 12, 0)
    assert torch.allclose(
        padded.vertices(alpha), few.vertices(torch.cat((alpha[:, :20], alpha[:, 80:92]), dim=1)), atol=1e-4
    )
    assert torch.equal(padded.albedo(torch.randn(1, 80))[0], face_model.mean_albedo)


def test_more_modes_than_theta_are_refused(face_model):
    more = face_model.truncate(80, 64, 80)
    more.n_identity, more.n_expression = 81, 63
    with pytest.raises(FaceModelError, match="; truncate it"):
        with_theta_modes(more)


def test_the_landmarks_of_any_pose_are_found(face_model):
    renderer, true = Renderer(face_model, CAMERA), random_theta(6)
    landmarks = renderer(true).landmarks
    theta = fit_landmarks(face_model, CAMERA, landmarks, torch.zeros(6, 27), SETTINGS)
    error = (renderer(theta).landmarks - landmarks).norm(dim=-1)
    assert float(error.mean()) < 0.5  # px; the priors pull
    turned = (split_theta(theta).rotation - split_theta(true).rotation).abs()
    assert float(turned.max()) < 0.15
    assert split_theta(theta).albedo.abs().max() == 0


def test_the_size_of_the_crop_does_not_matter(face_model):
    landmarks = Renderer(face_model, CAMERA)(random_theta(2)).landmarks
    small = CAMERA.model_copy(update={"image_size": 64})
    light = torch.ones(2, 27)
    one = fit_landmarks(face_model, CAMERA, landmarks, light, SETTINGS)
    other = fit_landmarks(face_model, small, (landmarks + 0.5) * 64 / 224 - 0.5, light, SETTINGS)
    assert torch.allclose(one, other, atol=1e-2)
    assert torch.equal(split_theta(one).light, light)


def test_a_landmark_without_weight_is_not_seen(face_model):
    landmarks = Renderer(face_model, CAMERA)(random_theta(2)).landmarks
    weights = landmark_weights()
    weights[1::2] = 0
    moved = landmarks.clone()
    moved[:, 1::2] += 50
    one, other = (
        fit_landmarks(face_model, CAMERA, points, torch.zeros(2, 27), SETTINGS, weights)
        for points in (landmarks, moved)
    )
    assert torch.allclose(one, other)
