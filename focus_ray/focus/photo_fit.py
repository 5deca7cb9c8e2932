"""Refinement of the fits of photographs: plausible before explained.

The refinement of `focus.refine` explains whatever the segmenter lets it: light and albedo paint masks and scarves as
skin. Here the fit stays plausible while the mask is uncertain:

1. coarse, at the encoder's size: albedo and light are held near skin under a usual light, the landmarks lead, and the
   fitted pixels are those that S keeps both before and after;
2. fine, at `image_size`: the mask grows back where the plausible fit explains the photograph (`outlier_odds`), and the
   priors are loosened inside of it.

The landmarks are weighted by the detector's measured noise, and the distance between the lips has a term of its own.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from focus_ray.face_models.landmarks import INNER_LIP, JAW, LEFT_BROW, NOSE_BASE, NOSE_RIDGE, OUTER_LIP, RIGHT_BROW
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import AppearancePrior, light_distance
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.camera import REFERENCE_SIZE
from focus_ray.focus.metrics import MASK_THRESHOLD
from focus_ray.focus.outlier_odds import OutlierSettings, enlarge, face_log_odds, face_probability, sharpen
from focus_ray.focus.parameters import CHANNELS, SH_BANDS, split_theta
from focus_ray.focus.refine import Decay, LrDecay, minimize, trusted_mask
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.settings import Settings

_SIGMA = 0.1 / REFERENCE_SIZE  # weight of a squared standard deviation, as in `RefineSettings`

# Root mean square distance of MediaPipe's landmarks from the reference landmarks of 16 photographs, percent of the size
# of the face (docs/evaluation.md). That of the jaw is 4.8, most of it along the outline; counted as 2.5, the fit's jaw
# is as near as the detector's.
_NOISE_PERCENT = (
    (JAW, 2.5),
    (RIGHT_BROW + LEFT_BROW, 2.9),
    (NOSE_RIDGE, 2.4),
    (NOSE_BASE, 1.9),
    (OUTER_LIP, 2.3),
    (INNER_LIP, 2.1),
)
_EYE_NOISE_PERCENT = 2.1
_UPPER_LIP, _LOWER_LIP = (61, 62, 63), (67, 66, 65)

_MODEL_LANDMARKS = 0.25  # weight of landmarks that the model predicted, relative to detected ones

_GREY_CHROMA = 0.02  # mean largest minus smallest channel up to which a photograph is black and white


class FitStage(Settings):
    """Steps of Adam and strength of the priors."""

    steps: int = Field(ge=0)
    lr: float = Field(gt=0)  # of the first step, in units of the head's scales
    albedo: float = Field(ge=0)  # weight of the squared standard deviations of the albedo
    light: float = Field(ge=0)  # weight of the squared Mahalanobis distance of the light
    lr_decay: LrDecay = "linear"
    betas: tuple[Decay, Decay] = (0.6, 0.9)


class PhotoFitSettings(Settings):
    """Weights and steps of the refinement of photographs. Terms are per image."""

    coarse: FitStage = FitStage(steps=24, lr=0.2, albedo=16 * _SIGMA, light=16 * _SIGMA)
    fine: FitStage = FitStage(steps=24, lr=0.1, albedo=2 * _SIGMA, light=_SIGMA)
    image_size: Annotated[int, Field(ge=16, le=1024)] = REFERENCE_SIZE  # px, of the fine stage
    pixel: float = 3.0  # of the mean colour distance inside the mask
    landmark: float = 0.02  # of the mean weighted squared distance, px^2 at 224
    lip_distance: float = 0.02  # of the mean squared error of the vectors between the inner lips, px^2 at 224
    identity: float = _SIGMA  # of the squared standard deviations
    expression: float = 0.3 * _SIGMA  # the same; loose, so that open mouths open
    mask_every: int = Field(default=4, gt=0)  # steps between two estimates of the mask
    trusting_share: float = Field(default=0.2, ge=0, le=1)  # of the coarse steps, without S of the current fit
    trusting_factor: float = Field(default=2.0, gt=0)  # residual of a trusted pixel, in medians of its image
    outliers: OutlierSettings = OutlierSettings()

    @property
    def steps(self) -> int:
        """Steps of both stages."""
        return self.coarse.steps + self.fine.steps

    def with_steps(self, steps: int) -> "PhotoFitSettings":
        """Return the settings with a number of steps that is divided between the stages in the same proportion."""
        fine = steps * self.fine.steps // max(self.steps, 1)
        return self.model_copy(
            update={
                "coarse": self.coarse.model_copy(update={"steps": steps - fine}),
                "fine": self.fine.model_copy(update={"steps": fine}),
            }
        )


class PhotoFit(NamedTuple):
    """Fit of photographs at the size of the fine stage.

    Attributes:
        theta: parameters.
        rendering: of theta, at the fine size.
        mask: M, soft, inside the rendered region.
    """

    theta: Float[Tensor, "B 257"]
    rendering: Rendering
    mask: Float[Tensor, "B 1 S S"]


def fit_photographs(
    focus: Focus,
    prior: AppearancePrior,
    images: Float[Tensor, "B 3 H W"],
    detailed: Float[Tensor, "B 3 S S"],
    theta: Float[Tensor, "B 257"],
    landmarks: Float[Tensor, "B 68 2"],
    settings: PhotoFitSettings,
    detected: Bool[Tensor, " B"] | None = None,
) -> PhotoFit:
    """Refine the fits of photographs.

    Args:
        focus: renderer, segmenter and scales.
        prior: light and residuals of open faces.
        images: crops at the encoder's size, RGB in [0, 1].
        detailed: the same crops at any other size.
        theta: prediction of the encoder, where the descent begins.
        landmarks: px of `images`.
        settings: weights and steps.
        detected: whether the landmarks of each image are from a detector or a person; those that the model predicted
            have a quarter of the weight and do not tell how open the mouth is. None: those of all images are.

    Returns:
        The fit, at the size of `detailed`.
    """
    prior = prior.to(images)
    if detected is None:
        detected = torch.ones(len(images), dtype=torch.bool)
    fitter = _Fitter(focus, prior, images, settings, detected)
    size, full_size = images.shape[-1], detailed.shape[-1]
    enlarged = (landmarks + 0.5) * (full_size / size) - 0.5
    camera = focus.renderer.camera.model_copy(update={"image_size": full_size})
    renderer = Renderer(focus.face_model, camera, focus.renderer.backend, cull_back=focus.renderer.cull_back)
    theta = fitter.descend(focus.renderer, images, theta, landmarks, settings.coarse, fitter.coarse_mask(theta))
    theta = fitter.descend(renderer, detailed, theta, enlarged, settings.fine, fitter.fine_mask)
    with torch.no_grad():
        rendering = renderer(theta)
        return PhotoFit(theta, rendering, fitter.final_mask(theta, detailed, rendering))


def expected_light(
    face_model: MorphableModel, prior: AppearancePrior, images: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B 27"]:
    """Return the mean light of each photograph's prior.

    Args:
        face_model: tells the usual colour of skin.
        prior: light of photographs in colour.
        images: RGB in [0, 1].

    Returns:
        The mean of the prior; for a black-and-white photograph its grey part, coloured so that skin looks grey.
    """
    light = prior.light_mean.reshape(CHANNELS, SH_BANDS)
    skin = face_model.mean_albedo.to(light).median(dim=0).values
    grey = light.mean(dim=0) * (skin.mean() / skin)[:, None]
    return torch.where(is_grey(images)[:, None], grey.flatten(), light.flatten())


def is_grey(images: Float[Tensor, "B 3 H W"]) -> Bool[Tensor, " B"]:
    """Return which pictures are black and white: their channels are nearly equal."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2)) < _GREY_CHROMA


def landmark_weights() -> Float[Tensor, " 68"]:
    """Return the weight of each landmark: inverse squared noise of the detector, with mean 1."""
    noise = torch.full((68,), _EYE_NOISE_PERCENT)
    for points, percent in _NOISE_PERCENT:
        noise[list(points)] = percent
    weights = noise**-2
    return weights / weights.mean()


_MaskFn = Callable[[int, Tensor, Tensor, Rendering], Tensor]  # (step, theta, images, rendering) -> M


class _Fitter:
    """Loss and masks of one batch of photographs."""

    def __init__(
        self, focus: Focus, prior: AppearancePrior, images: Tensor, settings: PhotoFitSettings, detected: Tensor
    ) -> None:
        self.focus = focus
        self.prior = prior
        self.images = images
        self.settings = settings
        self.detected = detected.to(images)
        self.landmark_share = torch.where(detected, 1.0, _MODEL_LANDMARKS).to(images)
        self.light = expected_light(focus.face_model, prior, images)
        self.weights = landmark_weights().to(images)

    def descend(
        self, renderer: Renderer, images: Tensor, theta: Tensor, landmarks: Tensor, stage: FitStage, mask_fn: _MaskFn
    ) -> Tensor:
        """Descend the loss of a stage; the mask is estimated every few steps."""
        masks: list[Tensor] = []

        def loss_fn(step: int, current: Tensor, rendering: Rendering) -> Tensor:
            if step % self.settings.mask_every == 0:
                with torch.no_grad():
                    masks[:] = [mask_fn(step, current.detach(), images, rendering)]
            return self.loss(images, current, rendering, masks[0], landmarks, stage)

        return minimize(renderer, self.focus.scales, theta, loss_fn, stage)

    def loss(
        self, images: Tensor, theta: Tensor, rendering: Rendering, mask: Tensor, landmarks: Tensor, stage: FitStage
    ) -> Float[Tensor, " B"]:
        """Compute the loss of each image."""
        settings, parts = self.settings, split_theta(theta)
        inside = mask * rendering.mask
        distance = (images - rendering.image).square().sum(1, keepdim=True).add(1e-8).sqrt()
        error = (rendering.landmarks - landmarks) * (REFERENCE_SIZE / images.shape[-1])
        lips = error[:, _UPPER_LIP] - error[:, _LOWER_LIP]
        return (
            settings.pixel * (inside * distance).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1.0)
            + settings.landmark * self.landmark_share * (self.weights * error.square().mean(2)).mean(1)
            + settings.lip_distance * self.detected * lips.square().sum(2).mean(1)
            + settings.identity * parts.identity.square().sum(1)
            + settings.expression * parts.expression.square().sum(1)
            + stage.albedo * parts.albedo.square().sum(1)
            + stage.light * light_distance(parts.light, self.light, self.prior.light_whitening)
        )

    def coarse_mask(self, theta: Tensor) -> _MaskFn:
        """Return the mask of the coarse stage: what S keeps in one pass, and in the current fit."""
        settings, focus = self.settings, self.focus
        with torch.no_grad():
            first = focus.mask(self.images, focus.renderer(theta))
        trusting_steps = round(settings.trusting_share * settings.coarse.steps)

        def mask(step: int, theta: Tensor, images: Tensor, rendering: Rendering) -> Tensor:
            if step < trusting_steps:
                return first * trusted_mask(images, rendering, settings.trusting_factor)
            return first * focus.mask(images, rendering)

        return mask

    def fine_mask(self, step: int, theta: Tensor, images: Tensor, rendering: Rendering) -> Tensor:
        """Return the mask of the fine stage: what the fit explains."""
        coarse = self.focus.renderer(theta)
        kept = self.probability(coarse) > MASK_THRESHOLD
        return enlarge(kept.to(images), coarse.mask, rendering.mask)

    def final_mask(self, theta: Tensor, images: Tensor, rendering: Rendering) -> Tensor:
        """Return M of a fit at the size of `images`."""
        coarse = self.focus.renderer(theta)
        enlarged = enlarge(self.probability(coarse), coarse.mask, rendering.mask)
        return sharpen(enlarged, images, rendering.mask, self.settings.outliers)

    def probability(self, coarse: Rendering) -> Tensor:
        """Return M of a rendering at the encoder's size."""
        seen = self.focus.mask(self.images, coarse)
        settings = self.settings.outliers
        log_odds = face_log_odds(self.prior, self.focus.face_model, self.images, coarse, seen, settings)
        return face_probability(log_odds, self.images, coarse.mask, settings)
