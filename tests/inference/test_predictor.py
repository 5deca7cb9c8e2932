"""The predictor: forward pass, refinement, and the shares that are read off a mask."""

import pytest
import torch

from focus_ray.focus.autoencoder import FaceAutoencoder, Focus
from focus_ray.focus.camera import Camera
from focus_ray.focus.networks.encoder import SmallEncoder
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.parameters import ParameterScales
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.predictor import Prediction, Predictor

SIZE = 32


@pytest.fixture
def predictor(ellipsoid_face) -> Predictor:
    autoencoder = FaceAutoencoder(SmallEncoder(SIZE, width=4), Renderer(ellipsoid_face, Camera(image_size=SIZE)))
    focus = Focus(autoencoder, UNet(width=4, levels=2, norm="group"), ParameterScales()).eval().requires_grad_(False)
    return Predictor(focus)


@pytest.fixture
def prediction(predictor: Predictor) -> Prediction:
    return predictor(torch.rand(2, 3, SIZE, SIZE), steps=0)


def test_an_untrained_forward_pass_is_the_mean_face(predictor: Predictor, prediction: Prediction):
    assert predictor.image_size == SIZE
    offset, _ = ParameterScales().vectors()
    torch.testing.assert_close(prediction.theta, offset.expand(2, -1))
    assert (prediction.mask * ~prediction.region).sum() == 0
    torch.testing.assert_close(predictor.landmarks(prediction.images), prediction.rendering.landmarks)


def test_refinement_explains_the_image_better_and_each_image_by_itself(predictor: Predictor):
    scales = ParameterScales()
    offset, _ = scales.vectors()
    theta = offset.repeat(2, 1)
    theta[0, :5], theta[1, :5] = 1.5, -1.5
    with torch.no_grad():
        truth = predictor.focus.renderer(theta)
    before = predictor(truth.image, steps=0)
    after = predictor(truth.image, truth.landmarks, steps=20)
    error = lambda p: (p.rendering.landmarks - truth.landmarks).norm(dim=-1).mean(1)  # noqa: E731
    assert (error(after) < 0.6 * error(before)).all()
    alone = predictor(truth.image[1:], truth.landmarks[1:], steps=20)
    torch.testing.assert_close(alone.theta[0], after.theta[1], atol=1e-4, rtol=1e-4)


def test_shares_of_a_known_mask(predictor: Predictor, prediction: Prediction):
    model = predictor.focus.face_model
    region = prediction.rendering.mask
    upper = region.clone()
    upper[:, :, SIZE // 2 :] = 0
    seen = Prediction(prediction.images, prediction.theta, prediction.rendering, upper)
    torch.testing.assert_close(seen.occlusion, 1 - upper.sum((1, 2, 3)) / region.sum((1, 2, 3)))
    visibility = seen.visibility(model)
    assert set(visibility) == {"eyes", "brows", "nose", "mouth", "cheeks", "jaw"}
    assert (visibility["brows"] == 1).all()
    assert (visibility["jaw"] == 0).all()
    assert (visibility["mouth"] == 0).all()
    whole = Prediction(prediction.images, prediction.theta, prediction.rendering, region)
    assert all((value == 1).all() for value in whole.visibility(model).values())
    assert (whole.occlusion == 0).all()


def test_residual_is_the_root_mean_square_over_seen_pixels(prediction: Prediction):
    rendering = prediction.rendering
    images = rendering.image + 0.1
    images[1] += 10 * (1 - rendering.mask[1])  # outside of the mask nothing counts
    shifted = Prediction(images, prediction.theta, rendering, rendering.mask)
    torch.testing.assert_close(shifted.residual, torch.full((2,), 25.5), atol=0.01, rtol=0)
    nothing = Prediction(images, prediction.theta, rendering, torch.zeros_like(rendering.mask))
    assert (nothing.residual == 0).all()
    assert (nothing.occlusion == 1).all()
