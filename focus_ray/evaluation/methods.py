"""A method under comparison: a fitted autoencoder and the rule for its mask."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.focus.misfit import correct_vertices
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.refine import MaskFn, RefineResult, refine, refine_with_segmenter
from focus_ray.focus.render.renderer import Rendering
from focus_ray.model import Model, weights_digest
from focus_ray.prior import Prior

MaskChoice = Literal["own", "all_ones"]


@dataclass
class Method:
    """What makes theta, a rendering and a mask of aligned crops.

    mask_fn: None for the model's own segmenter, else what says M for pictures and their renderings, also on the way of
    the refinement. prior: what corrects its meshes.
    """

    name: str
    model: Model
    mask_fn: MaskFn | None = None
    prior: Prior | None = None
    refine_steps: int = 0

    def to(self, device: torch.device | str) -> "Method":
        """The same on a device."""
        self.model.focus.to(device)
        return self

    @property
    def image_size(self) -> int:
        """Side of the crops in px."""
        return self.model.image_size

    @property
    def digest_of(self) -> list[str]:
        """What decides its answers, but the law of its mask."""
        prior = None if self.prior is None else self.prior.info.model_digest
        refinement = self.model.refine.model_dump_json() if self.refine_steps else ""
        return [weights_digest(self.model.focus), str(prior), str(self.refine_steps), refinement]

    def with_refine_steps(self, steps: int) -> "Method":
        """The same with another number of refinement steps."""
        return replace(self, refine_steps=steps)

    def fit(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> RefineResult:
        """Theta, rendering and mask. The landmarks (px of the images) hold a refinement; the encoder sees pixels."""
        focus = self.model.focus
        with torch.no_grad():
            theta = focus.encoder(images)
        if self.refine_steps == 0:
            with torch.no_grad():
                rendering = focus.renderer(theta)
                return RefineResult(theta, rendering, self._resolve_mask_fn()(images, rendering))
        settings = self.model.refine.model_copy(update={"steps": self.refine_steps})
        if self.mask_fn is None:
            return refine_with_segmenter(focus, images, theta, landmarks, settings)
        return refine(focus.renderer, focus.scales, images, theta, self.mask_fn, landmarks, settings)

    def neutral_vertices(self, theta: Float[Tensor, "B 257"]) -> Float[Tensor, "B V 3"]:
        """The faces at rest, in the model frame [mm], without the systematic error where there is a prior."""
        parameters = split_theta(theta)
        at_rest = torch.cat((parameters.identity, torch.zeros_like(parameters.expression)), dim=1)
        vertices = self.model.focus.face_model.vertices(at_rest)
        return vertices if self.prior is None else correct_vertices(vertices, self.prior.neutral_error.to(vertices))

    def _resolve_mask_fn(self) -> MaskFn:
        return self.model.focus.mask if self.mask_fn is None else self.mask_fn


def all_ones_mask(_: Tensor, rendering: Rendering) -> Tensor:
    """The law of methods that know no outliers: all that is rendered counts."""
    return rendering.mask


def load_method(
    folder: Path | None, *, name: str | None = None, mask: MaskChoice = "own", prior: str | None = None, refine: int = 0
) -> Method:
    """The model of a folder, the shipped one unless another is named, as a method; `prior`: see prior.chosen.

    Raises CheckpointError, ModelError; FaceModelError where the prior belongs to another face.
    """
    model = models.load(folder)
    correcting = priors.select_prior(prior, shipped_model=folder is None)
    if correcting is not None and prior is not None:
        correcting.check_pipeline(model, refine)
    if correcting is not None and not correcting.matches(model, refine):
        correcting = None
    return Method(name or model.version, model, all_ones_mask if mask == "all_ones" else None, correcting, refine)
