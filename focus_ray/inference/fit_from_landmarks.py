"""Fit of any face model to aligned crops with landmarks, without an encoder.

First pose and shape from the landmarks (`inference.landmark_fit`), then pixels and landmarks together in two sizes,
with the terms of the refinement of photographs (`focus.photo_fit`). No network is used: the pixels to fit are given.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import AppearancePrior, light_distance
from focus_ray.focus.camera import REFERENCE_SIZE, Camera
from focus_ray.focus.parameters import ParameterScales, split_theta
from focus_ray.focus.photo_fit import FitStage, PhotoFitSettings, expected_light, landmark_weights
from focus_ray.focus.refine import minimize
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.inference.landmark_fit import fit_landmarks, with_theta_modes

COARSE_SIZE = 64
"""Side of the crops of the coarse stage, px."""

SCALES = ParameterScales(albedo=1.0, translation_xy=10.0, translation_z=30.0)
"""Steps of Adam, in the units of theta, as in the presets for faces at different depths."""

_SIGMA = PhotoFitSettings().identity

FIT_SETTINGS = PhotoFitSettings(
    coarse=FitStage(steps=40, lr=0.2, albedo=4 * _SIGMA, light=4 * _SIGMA),
    fine=FitStage(steps=40, lr=0.1, albedo=2 * _SIGMA, light=_SIGMA),
)
"""More steps than after an encoder, and priors for open faces."""


class LandmarkFit(NamedTuple):
    """A fit at the size of the crops.

    Attributes:
        theta: parameters of `face_model`.
        rendering: of theta.
        face_model: with the modes of theta.
    """

    theta: Float[Tensor, "B 257"]
    rendering: Rendering
    face_model: MorphableModel


def fit_from_landmarks(
    face_model: MorphableModel,
    prior: AppearancePrior,
    images: Float[Tensor, "B 3 S S"],
    landmarks: Float[Tensor, "B 68 2"],
    pixels: Float[Tensor, "B 1 S S"],
    settings: PhotoFitSettings = FIT_SETTINGS,
    weights: Float[Tensor, " 68"] | None = None,
) -> LandmarkFit:
    """Fit a face model to upright, aligned crops (`data.align`).

    Args:
        face_model: with at most the modes of theta.
        prior: prior of the light.
        images: RGB in [0, 1].
        landmarks: px of the crops, iBUG order.
        pixels: weight of each pixel in [0, 1]; pixels where nothing is rendered do not count.
        settings: weights and steps; the settings of masks are not used.
        weights: weight of each landmark, 0 to leave it out; None: `landmark_weights`.

    Raises:
        FaceModelError: the face model has more modes than theta; truncate it.
    """
    face_model, prior = with_theta_modes(face_model), prior.to(images)
    weights = (landmark_weights() if weights is None else weights).to(images)
    camera = Camera(image_size=images.shape[-1])
    light = expected_light(face_model, prior, images)
    theta = fit_landmarks(face_model, camera, landmarks, light, settings, weights)
    terms = _Terms(prior, light, weights, settings)
    for size, stage in ((COARSE_SIZE, settings.coarse), (camera.image_size, settings.fine)):
        renderer = Renderer(face_model, camera.model_copy(update={"image_size": size}))
        seen, counted = (
            functional.interpolate(one, size=(size, size), mode="area") for one in (images * pixels, pixels)
        )
        seen = seen / counted.clamp_min(1e-6)
        points = (landmarks + 0.5) * (size / camera.image_size) - 0.5
        theta = minimize(renderer, SCALES, theta, terms.loss_fn(seen, counted, points, stage), stage)
    with torch.no_grad():
        return LandmarkFit(theta, renderer(theta), face_model)


class _Terms:
    """The loss of `focus.photo_fit` with given pixels in place of an estimated mask."""

    def __init__(self, prior: AppearancePrior, light: Tensor, weights: Tensor, settings: PhotoFitSettings) -> None:
        self.prior = prior
        self.light = light
        self.weights = weights
        self.settings = settings

    def loss_fn(
        self, images: Tensor, pixels: Tensor, landmarks: Tensor, stage: FitStage
    ) -> Callable[[int, Tensor, Rendering], Tensor]:
        """Return the loss of each image of a stage."""
        settings = self.settings

        def loss(step: int, theta: Tensor, rendering: Rendering) -> Tensor:
            parts = split_theta(theta)
            inside = pixels * rendering.mask
            distance = (images - rendering.image).square().sum(1, keepdim=True).add(1e-8).sqrt()
            error = (rendering.landmarks - landmarks) * (REFERENCE_SIZE / images.shape[-1])
            return (
                settings.pixel * (inside * distance).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1.0)
                + settings.landmark * (self.weights * error.square().mean(2)).mean(1)
                + settings.identity * parts.identity.square().sum(1)
                + settings.expression * parts.expression.square().sum(1)
                + stage.albedo * parts.albedo.square().sum(1)
                + stage.light * light_distance(parts.light, self.light, self.prior.light_whitening)
            )

        return loss
