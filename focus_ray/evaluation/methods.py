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
from focus_ray.focus.refine import MaskFn
from focus_ray.focus.render.renderer import Rendering
from focus_ray.inference.predictor import Prediction, Predictor
from focus_ray.model import Model, weights_digest
from focus_ray.prior import Prior

MaskChoice = Literal["own", "all_ones"]


@dataclass
class Method:
    """Computes theta, a rendering and a mask for aligned crops.

    Attributes:
        name: name in tables.
        model: fitted autoencoder.
        mask_fn: mask rule for images and their renderings, also during refinement; None: the model's own segmenter.
        prior: misfit prior that corrects its meshes.
        refine_steps: refinement steps of each fit; 0: one pass.
    """

    name: str
    model: Model
    mask_fn: MaskFn | None = None
    prior: Prior | None = None
    refine_steps: int = 0

    def to(self, device: torch.device | str) -> "Method":
        """Move the model to a device."""
        self.model.focus.to(device)
        return self

    @property
    def image_size(self) -> int:
        """Side of the crops, px."""
        return self.model.image_size

    @property
    def digest_of(self) -> list[str]:
        """Digests of the inputs that determine its output, without the mask rule."""
        prior = None if self.prior is None else self.prior.info.model_digest
        refinement = self.model.refine.model_dump_json() if self.refine_steps else ""
        return [weights_digest(self.model.focus), str(prior), str(self.refine_steps), refinement]

    def with_refine_steps(self, steps: int) -> "Method":
        """Return a copy with another number of refinement steps."""
        return replace(self, refine_steps=steps)

    def fit(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Prediction:
        """Fit theta to crops.

        Args:
            images: crops, RGB in [0, 1].
            landmarks: px of the crops; used by the refinement alone.

        Returns:
            Theta, rendering and mask.
        """
        predictor = Predictor(self.model.focus, self.model.refine, self.mask_fn)
        return predictor(images, landmarks, self.refine_steps)

    def neutral_vertices(self, theta: Float[Tensor, "B 257"]) -> Float[Tensor, "B V 3"]:
        """Compute the faces without expression, corrected by the prior if the method has one.

        Args:
            theta: parameters of the fits.

        Returns:
            Vertices in the model frame, mm.
        """
        parameters = split_theta(theta)
        at_rest = torch.cat((parameters.identity, torch.zeros_like(parameters.expression)), dim=1)
        vertices = self.model.focus.face_model.vertices(at_rest)
        return vertices if self.prior is None else correct_vertices(vertices, self.prior.neutral_error.to(vertices))


def all_ones_mask(_: Tensor, rendering: Rendering) -> Tensor:
    """Return the mask rule of methods without outliers: 1 wherever the face is rendered.

    Args:
        _: images, not used.
        rendering: renderings of the fits.

    Returns:
        Masks [B, 1, H, W], 0 or 1.
    """
    return rendering.mask


def load_method(
    folder: Path | None, *, name: str | None = None, mask: MaskChoice = "own", prior: str | None = None, refine: int = 0
) -> Method:
    """Load the model of a folder as a method.

    Args:
        folder: model folder; None: the default model of the package.
        name: name of the method; None: version of the model.
        mask: mask rule.
        prior: folder of a misfit prior or "none"; None: that of the model, if it has one (prior.select_prior).
        refine: refinement steps of each fit.

    Raises:
        CheckpointError: the model or the prior is damaged.
        ModelError: the prior belongs to another pipeline, or the default model is not installed.
        FaceModelError: the prior belongs to another face model.
    """
    model = models.load(folder)
    correcting = priors.select_prior(prior, model)
    if correcting is not None and prior is not None:
        correcting.check_pipeline(model, refine)
    if correcting is not None and not correcting.matches(model, refine):
        correcting = None
    return Method(name or model.version, model, all_ones_mask if mask == "all_ones" else None, correcting, refine)
