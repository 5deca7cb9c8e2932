"""From aligned face images to parameters, rendering and mask: one forward pass, refined where that is asked for."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.metrics import MASK_THRESHOLD
from focus_ray.focus.refine import DEFAULT_REFINE, RefineSettings, refine_with_segmenter
from focus_ray.focus.render.renderer import Rendering
from focus_ray.inference.face_result import VISIBLE_PARTS

_PART_CORNERS = 2  # of a triangle's three, from which it counts to a part


@dataclass(frozen=True)
class Prediction:
    """Predictions for B aligned images."""

    images: Float[Tensor, "B 3 H W"]
    theta: Float[Tensor, "B 257"]
    rendering: Rendering
    mask: Float[Tensor, "B 1 H W"]
    """Soft M = S inside the rendered region, 0 outside; 1 = face is seen."""

    def to(self, device: str) -> "Prediction":
        """The same on another device."""
        return Prediction(
            self.images.to(device), self.theta.to(device), self.rendering.to(device), self.mask.to(device)
        )

    @property
    def binary_mask(self) -> Bool[Tensor, "B 1 H W"]:
        """M, binarised."""
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
        """Root mean square colour error over seen pixels and channels, 0 to 255; 0 where nothing is seen."""
        squared = (self.images - self.rendering.image).square() * self.binary_mask
        terms = (3 * self.binary_mask.sum((1, 2, 3))).clamp_min(1)
        return 255.0 * (squared.sum((1, 2, 3)) / terms).sqrt()

    def visibility(self, model: MorphableModel) -> dict[str, Float[Tensor, " B"]]:
        """Per part, the share of its rendered pixels that M keeps; 0 where none is rendered."""
        ids = self.rendering.triangle_ids
        faces = model.faces.to(ids.device)
        shares = {}
        for part in VISIBLE_PARTS:
            of_part = model.parts[part].to(ids.device)[faces].sum(dim=1) >= _PART_CORNERS
            pixels = (of_part[ids.clamp_min(0)] & (ids >= 0))[:, None]
            shares[part] = pixel_fraction(self.binary_mask & pixels, pixels)
        return shares


def pixel_fraction(kept: Bool[Tensor, "B 1 H W"], total: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Pixels kept of the pixels there are, per image; 0 where there are none."""
    return kept.sum((1, 2, 3)) / total.sum((1, 2, 3)).clamp_min(1)


class Predictor(nn.Module):
    """A trained pipeline used on aligned crops of its own image size."""

    def __init__(self, focus: Focus, settings: RefineSettings = DEFAULT_REFINE):
        super().__init__()
        self.focus = focus
        self.settings = settings

    @property
    def image_size(self) -> int:
        """Side of the crops in px."""
        return self.focus.renderer.camera.image_size

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        landmarks: Float[Tensor, "B 68 2"] | None = None,
        steps: int | None = None,
    ) -> Prediction:
        """Parameters, rendering and mask. `steps` of refinement, the settings' number by default, 0 for a forward pass.

        Landmarks (px of the images), where they are known, guide the refinement; the encoder does not see them.
        """
        steps = self.settings.steps if steps is None else steps
        with torch.no_grad():
            if steps == 0:
                theta, rendering = self.focus.autoencoder(images)
                return Prediction(images, theta, rendering, self.focus.mask(images, rendering))
            theta = self.focus.encoder(images)
        settings = self.settings.model_copy(update={"steps": steps})
        refined = refine_with_segmenter(self.focus, images, theta, landmarks, settings)
        return Prediction(images, refined.theta, refined.rendering, refined.mask)

    @torch.no_grad()
    def landmarks(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 68 2"]:
        """The landmarks that a forward pass predicts, px of the images."""
        return self.focus.autoencoder(images).rendering.landmarks
