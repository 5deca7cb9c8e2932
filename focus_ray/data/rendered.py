"""Renders of the fitted face model itself: faces that the model can express to the last vertex (section 3.4).

The synthetic world (data/synthetic.py) is richer than the fitted model, so an error of a pipeline there has many
possible causes. Here the ground truth is a theta, so every error is the pipeline's own.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from focus_ray.data.decode import decode_basis
from focus_ray.data.distribution_types import LandmarkBias
from focus_ray.data.sample import UNOCCLUDED, Batch
from focus_ray.face_models.landmarks import N_LANDMARKS
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import REFERENCE_SIZE, Camera
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_background, sample_theta
from focus_ray.settings import Settings

RenderedSplit = Literal["train", "heldout", "prior", "prior_heldout"]

# First words of the seed of each face; changing them changes all faces.
_SPLITS: dict[RenderedSplit, int] = {"train": 0, "heldout": 1, "prior": 2, "prior_heldout": 3}
_RENDERED_STREAM = 3  # keeps these faces apart from those of the warm-up


class RenderedConfig(Settings):
    """Distributions that renders are drawn from; the same config, seed, split and index give the same face."""

    laws: SamplingDistributions = SamplingDistributions()
    noise: float = Field(default=0.02, ge=0)  # of the sensor, standard deviation
    background: Literal["noise", "black"] = "noise"  # noise: colour noise over three scales, as in the warm-up
    detector: float = Field(default=1.5, ge=0)  # noise of the landmarks in px at 224, as in the synthetic world
    detector_bias: LandmarkBias = LandmarkBias()


class RenderedFaces:
    """Renders by number, each with its theta, its landmarks and the region that the face covers."""

    def __init__(
        self, face: MorphableModel, camera: Camera, config: RenderedConfig, seed: int, split: RenderedSplit
    ) -> None:
        """Prepare the faces of a seed and split.

        Args:
            face: face model to render.
            camera: pinhole camera of the images.
            config: distributions to draw from.
            seed: seed of all faces.
            split: different splits have different faces.
        """
        self.face = face
        self.config = config
        self.seed = seed
        self.split: RenderedSplit = split
        self._renderer = Renderer(face, camera)
        self._pixel = camera.image_size / REFERENCE_SIZE
        self._bias = torch.from_numpy(config.detector_bias.shift()).float()

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the faces with these numbers, in this order.

        The bits of a face do not depend on the other faces of the batch.
        """
        streams = [make_generator(self.seed, _RENDERED_STREAM, _SPLITS[self.split], index) for index in indices]
        theta = torch.cat([sample_theta(self.config.laws, 1, rng, self.face.expressions) for rng in streams])
        parts = split_theta(theta)
        face = self.face
        vertices = decode_basis(parts.alpha, face.mean, face.shape_basis)
        albedo = decode_basis(parts.albedo, face.mean_albedo, face.albedo_basis)
        rendering = self._renderer.render(vertices, albedo, parts.light, parts.rotation, parts.translation)
        scenery = torch.cat([self._background(rng) for rng in streams])
        images = torch.where(rendering.mask > 0, rendering.image, scenery)
        grain = torch.cat([torch.randn(1, *images.shape[1:], generator=rng) for rng in streams])
        off = torch.stack([torch.randn(N_LANDMARKS, 2, generator=rng) for rng in streams])
        landmarks = rendering.landmarks + (self.config.detector * off + self._bias) * self._pixel
        levels = (images + self.config.noise * grain).clamp(0, 1).mul(255).round()  # 8 bits, as in a picture file
        return Batch(
            images=levels / 255,
            landmarks=landmarks,
            masks=rendering.mask,
            theta=theta,
            vertices=vertices,
            families=[UNOCCLUDED] * len(theta),
            names=[f"{self.split}-{index:06d}" for index in indices],
            landmarks_true=rendering.landmarks,
            region=rendering.mask,
        )

    def _background(self, rng: torch.Generator) -> Float[Tensor, "1 3 H W"]:
        size = self._renderer.camera.image_size
        if self.config.background == "black":
            return torch.zeros(1, 3, size, size)
        return sample_background(1, size, rng, range(1))
