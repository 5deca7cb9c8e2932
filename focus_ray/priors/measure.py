"""One shard of a prior: renders its faces, fits them with R_syn and reduces their errors to a state."""

import copy
import hashlib
import json
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.data.rendered import RenderedConfig, RenderedFaces, RenderedSplit
from focus_ray.data.sample import Batch
from focus_ray.focus.misfit import MisfitStats, misfit_readings, vertex_regions
from focus_ray.inference.predictor import Predictor
from focus_ray.model import Model, weights_digest

# Faces per batch. Shards consist of whole batches if their size allows it: then a face is always in a batch with the
# same faces, and its results have the same bits for every shard size.
BATCH = 50
CACHE_VERSION = 2  # increase it when the computation of a state changes


@dataclass(frozen=True)
class MeasurementSpec:
    """All inputs of a shard's state except the numbers of its faces."""

    model: Model
    config: RenderedConfig
    seed: int
    split: RenderedSplit
    refine_steps: int = 0
    correction: Float[Tensor, "R V 3"] | None = None

    @property
    def digest(self) -> str:
        """First 16 hex digits of a sha256 over all fields."""
        hasher = hashlib.sha256()
        face = self.model.focus.face_model.digest
        described = [
            CACHE_VERSION,
            BATCH,
            self.seed,
            self.split,
            self.refine_steps,
            face,
            weights_digest(self.model.focus),
        ]
        settings = [part.model_dump(mode="json") for part in (self.config, self.model.settings, self.model.refine)]
        hasher.update(json.dumps([described, settings], sort_keys=True).encode())
        if self.correction is not None:
            hasher.update(self.correction.double().numpy().tobytes())
        return hasher.hexdigest()[:16]


class Measurer:
    """Renders and fits faces on a device."""

    def __init__(self, spec: MeasurementSpec, device: torch.device | str = "cpu"):
        focus = spec.model.focus.to(device)
        self.spec = spec
        self.device = device
        self.predictor = Predictor(focus, spec.model.refine).eval()
        self.face = focus.face_model
        self.regions = vertex_regions(self.face)
        # Render on the CPU, for the same bits with every device.
        face = self.face if str(device) == "cpu" else copy.deepcopy(self.face).cpu()
        self.faces = RenderedFaces(face, spec.model.settings.camera, spec.config, spec.seed, spec.split)

    def measure_shard(self, numbers: range) -> MisfitStats:
        """Render and fit the faces with these numbers and reduce their errors to a state.

        Args:
            numbers: numbers of the faces, at least one.

        Raises:
            ValueError: there is no number.
        """
        state = None
        for start in range(numbers.start, numbers.stop, BATCH):
            part = self.measure_batch(range(start, min(start + BATCH, numbers.stop)))
            state = part if state is None else state.merge(part)
        if state is None:
            raise ValueError("the shard is empty; give at least one face")
        return state

    def measure_batch(self, numbers: range) -> MisfitStats:
        """Render and fit one batch of faces and reduce their errors to a state."""
        batch = self.faces.batch(numbers)
        assert batch.theta is not None
        fitted = fit_batch(self.predictor, batch.to(self.device), self.spec.refine_steps).cpu()
        errors = misfit_readings(self.faces.face, fitted, batch.theta)
        return MisfitStats.from_errors(errors, self.regions, self.spec.correction)


def fit_batch(predictor: Predictor, batch: Batch, refine_steps: int) -> Float[Tensor, "B 257"]:
    """Fit faces by one pass of the encoder, then by refinement.

    Args:
        predictor: pipeline that fits.
        batch: aligned faces with their landmarks.
        refine_steps: number of refinement steps; 0: the encoder alone.

    Returns:
        Parameters theta of each face, without gradient.
    """
    if refine_steps == 0:
        with torch.no_grad():
            return predictor.focus.encoder(batch.images)
    return predictor(batch.images, batch.landmarks, refine_steps).theta.detach()
