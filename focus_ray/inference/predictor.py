"""Prediction of parameters, rendering and mask from aligned face images: one forward pass, optionally refined."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import AppearancePrior
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.metrics import MASK_THRESHOLD
from focus_ray.focus.photo_fit import PhotoFitSettings, fit_photographs
from focus_ray.focus.refine import DEFAULT_REFINE, MaskFn, RefineSettings, refine, refine_with_segmenter
from focus_ray.focus.render.renderer import Rendering
from focus_ray.inference.face_result import VISIBLE_PARTS
from focus_ray.model import Model

_PART_CORNERS = 2  # a triangle belongs to a part if at least this many of its three corners do


@dataclass(frozen=True)
class Prediction:
    """Predictions for B aligned images."""

    images: Float[Tensor, "B 3 H W"]
    theta: Float[Tensor, "B 257"]
    rendering: Rendering
    mask: Float[Tensor, "B 1 H W"]
    """Soft M inside the rendered region, 0 outside; 1 = visible face."""
    one_pass: "Prediction | None" = None
    """The prediction before the refinement, at the size of the encoder; None if there was no refinement."""

    def to(self, device: str) -> "Prediction":
        """Return the prediction on another device."""
        return Prediction(
            self.images.to(device),
            self.theta.to(device),
            self.rendering.to(device),
            self.mask.to(device),
            None if self.one_pass is None else self.one_pass.to(device),
        )

    @property
    def binary_mask(self) -> Bool[Tensor, "B 1 H W"]:
        """Binarised M: True where the face is visible."""
        return self.mask > MASK_THRESHOLD

    @property
    def region(self) -> Bool[Tensor, "B 1 H W"]:
        """Where the face is rendered."""
        return self.rendering.mask > 0

    @property
    def occlusion(self) -> Float[Tensor, " B"]:
        """1 - binarised M / rendered region; 1 where nothing is rendered."""
        return 1.0 - pixel_fraction(self.binary_mask, self.region)

    @property
    def residual(self) -> Float[Tensor, " B"]:
        """Root mean square colour error over visible pixels and channels, 0 to 255; 0 if no pixel is visible."""
        squared = (self.images - self.rendering.image).square() * self.binary_mask
        terms = (3 * self.binary_mask.sum((1, 2, 3))).clamp_min(1)
        return 255.0 * (squared.sum((1, 2, 3)) / terms).sqrt()

    def visibility(self, model: MorphableModel) -> dict[str, Float[Tensor, " B"]]:
        """Compute for each part the share of its rendered pixels that M keeps.

        Returns:
            A share for each name of VISIBLE_PARTS; 0 if no pixel of the part is rendered.
        """
        ids = self.rendering.triangle_ids
        faces = model.faces.to(ids.device)
        shares = {}
        for part in VISIBLE_PARTS:
            of_part = model.parts[part].to(ids.device)[faces].sum(dim=1) >= _PART_CORNERS
            pixels = (of_part[ids.clamp_min(0)] & (ids >= 0))[:, None]
            shares[part] = pixel_fraction(self.binary_mask & pixels, pixels)
        return shares


def pixel_fraction(kept: Bool[Tensor, "B 1 H W"], total: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Compute the fraction of pixels that are kept, per image.

    Args:
        kept: True at the pixels that are kept.
        total: True at all pixels that count.

    Returns:
        Kept over total, 0 if no pixel counts.
    """
    return kept.sum((1, 2, 3)) / total.sum((1, 2, 3)).clamp_min(1)


@dataclass(frozen=True)
class PhotoRefinement:
    """How photographs are refined: see `focus.photo_fit`."""

    prior: AppearancePrior
    settings: PhotoFitSettings


class Predictor(nn.Module):
    """A trained pipeline used on aligned crops of its own image size."""

    def __init__(
        self,
        focus: Focus,
        settings: RefineSettings = DEFAULT_REFINE,
        mask_fn: MaskFn | None = None,
        photo: PhotoRefinement | None = None,
    ):
        """Set up the pipeline.

        Args:
            focus: networks and renderer.
            settings: refinement.
            mask_fn: mask rule, also during refinement; None is the segmenter.
            photo: refinement of photographs; None: they are refined like synthetic faces.
        """
        super().__init__()
        self.focus = focus
        self.settings = settings
        self.mask_fn = mask_fn
        self.photo = photo

    @classmethod
    def for_photographs(cls, model: Model, mask_fn: MaskFn | None = None) -> "Predictor":
        """Return the pipeline of a model for photographs; with a mask rule of its own, it has no `photo`."""
        if model.appearance is None or mask_fn is not None:
            return cls(model.focus, model.refine, mask_fn)
        return cls(model.focus, model.refine, photo=PhotoRefinement(model.appearance, model.photo))

    @property
    def image_size(self) -> int:
        """Side of the crops in px."""
        return self.focus.renderer.camera.image_size

    @property
    def fine_size(self) -> int:
        """Side of the detailed crops that `forward` refines photographs with, px."""
        return self.image_size if self.photo is None else self.photo.settings.image_size

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        landmarks: Float[Tensor, "B 68 2"] | None = None,
        steps: int | None = None,
        detailed: Float[Tensor, "B 3 S S"] | None = None,
        detected: Bool[Tensor, " B"] | None = None,
    ) -> Prediction:
        """Predict parameters, rendering and mask.

        Args:
            images: aligned crops, RGB in [0, 1].
            landmarks: px of the images; they guide the refinement only, the encoder does not use them.
            steps: refinement steps; None is the number of the settings, 0 a forward pass only.
            detailed: the crops in `fine_size`, if they are of photographs; `images` if None.
            detected: whether the landmarks of each image are from a detector or a person, not from the model; None:
                those of all images.

        Returns:
            The prediction for each image; in the size of `detailed` if photographs were refined.
        """
        with torch.no_grad():
            theta = self.focus.encoder(images)
            rendering = self.focus.renderer(theta)
            one_pass = Prediction(images, theta, rendering, (self.mask_fn or self.focus.mask)(images, rendering))
        if steps == 0:
            return one_pass
        if self.photo is not None and landmarks is not None:
            detailed = images if detailed is None else detailed
            return self._refine_photographs(one_pass, landmarks, steps, detailed, detected)
        settings = self.settings if steps is None else self.settings.model_copy(update={"steps": steps})
        if self.mask_fn is None:
            refined = refine_with_segmenter(self.focus, images, theta, landmarks, settings)
        else:
            refined = refine(self.focus.renderer, self.focus.scales, images, theta, self.mask_fn, landmarks, settings)
        return Prediction(images, refined.theta, refined.rendering, refined.mask, one_pass)

    def _refine_photographs(
        self, one_pass: Prediction, landmarks: Tensor, steps: int | None, detailed: Tensor, detected: Tensor | None
    ) -> Prediction:
        assert self.photo is not None
        settings = self.photo.settings if steps is None else self.photo.settings.with_steps(steps)
        prior = self.photo.prior
        images, theta = one_pass.images, one_pass.theta
        fit = fit_photographs(self.focus, prior, images, detailed, theta, landmarks, settings, detected)
        return Prediction(detailed, fit.theta, fit.rendering, fit.mask, one_pass)

    @torch.no_grad()
    def landmarks(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 68 2"]:
        """Predict landmarks by a forward pass.

        Args:
            images: aligned crops, RGB in [0, 1].

        Returns:
            (u, v) in px of the images, iBUG order.
        """
        return self.focus.autoencoder(images).rendering.landmarks
