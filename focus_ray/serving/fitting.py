"""Batched fitting of faces from several requests; each result equals that of the face fitted alone."""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from focus_ray.data.detectors.detection import Detection
from focus_ray.errors import DataError, ModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.serving.settings import BatchingSettings

logger = logging.getLogger(__name__)

_STUCK_FACTOR = 4.0  # time limit of a batch, relative to a full batch at the start


@dataclass(frozen=True)
class FitRequest:
    """A picture with its located faces, at most one batch of them, and whether to refine their fit."""

    located: FaceLocations
    refine: bool


@dataclass(frozen=True)
class FitResult:
    """The faces of a FitRequest, or an error."""

    faces: tuple[FaceResult, ...] = ()
    error: str | None = None  # what is wrong with the picture
    failed: bool = False  # the model itself failed


@dataclass(frozen=True)
class ModelInfo:
    """Description of the loaded model."""

    version: str
    registered: str | None  # NAME/VERSION in the model registry
    image_size: int  # side of the crops, px
    vertices: int
    triangles: int
    refine_steps: int
    prior: Literal["none", "one_pass", "refined"]


@dataclass(frozen=True, eq=False)
class RenderContext:
    """Face model and camera for rendering faces that this version of the model fitted."""

    version: str
    face_model: MorphableModel
    camera: Camera


class Fitter:
    """Fits batches on one thread and records when the current batch started.

    A result depends on its own picture only, bit for bit. The order of a sum depends on the number of rows, and
    refinement amplifies a change of the last digit (to 0.2 sigma in weak modes). On one CPU thread all batches of two
    rows or more give the same bits, so a face is never fitted alone; on an accelerator all batches have one size.
    Several CPU threads may divide the rows of a product between them: then the first pass differs by rounding.
    """

    def __init__(self, reconstructor: Reconstructor, settings: BatchingSettings, registered: str | None = None) -> None:
        """Compile the kernels and time a full batch.

        Args:
            reconstructor: model and misfit prior, on their device.
            settings: batch size and time limit.
            registered: NAME/VERSION of the model in the registry.
        """
        self._reconstructor = reconstructor
        self._settings = settings
        self._registered = registered
        self._batch_started: float | None = None
        self._limit = float("inf")  # no limit while kernels compile
        self._warm_up()

    @property
    def model_info(self) -> ModelInfo:
        """Description of the loaded model."""
        model, face = self._reconstructor.model, self._reconstructor.model.focus.face_model
        return ModelInfo(
            version=model.version,
            registered=self._registered,
            image_size=model.image_size,
            vertices=face.n_vertices,
            triangles=len(face.faces),
            refine_steps=model.refine_steps,
            prior=self._prior_scope(),
        )

    def _prior_scope(self) -> Literal["none", "one_pass", "refined"]:
        """Return which results the prior corrects: those it was measured for."""
        model, prior = self._reconstructor.model, self._reconstructor.prior
        if prior is None:
            return "none"
        if prior.matches(model, 0):
            return "one_pass"
        return "refined" if prior.matches(model, model.refine_steps, photographs=True) else "none"

    @property
    def render_context(self) -> RenderContext:
        """Copies of face model and camera for rendering its faces, on the CPU."""
        model, focus = self._reconstructor.model, self._reconstructor.model.focus
        return RenderContext(model.version, copy.deepcopy(focus.face_model).cpu(), focus.renderer.camera)

    def fit(self, batch: Sequence[FitRequest]) -> list[FitResult]:
        """Fit the faces of all requests; a request that cannot be fitted gets its own error.

        Args:
            batch: requests with at most a batch of faces in total.

        Returns:
            One result for each request, in order.
        """
        self._batch_started = time.monotonic()
        try:
            results: dict[int, FitResult] = {}
            for refine in (False, True):
                places = [place for place, one in enumerate(batch) if one.refine == refine]
                found = self._fit_batch([batch[place].located for place in places], refine)
                results |= dict(zip(places, found, strict=True))
            return [results[place] for place in range(len(batch))]
        finally:
            self._batch_started = None

    def batch_seconds(self) -> float:
        """Return the time since the current batch started, s; 0 without one."""
        since = self._batch_started
        return 0.0 if since is None else time.monotonic() - since

    def check_health(self) -> None:
        """Check that the model is not stuck.

        Raises:
            ModelError: the current batch exceeds its time limit.
        """
        if (seconds := self.batch_seconds()) > self._limit:
            raise ModelError(
                f"a batch has taken {seconds:.0f} s, the limit is {self._limit:.0f} s; restart the replica"
            )

    def _fit_batch(self, pictures: list[FaceLocations], refine: bool) -> list[FitResult]:
        """Fit one batch; if it fails, fit its pictures one by one."""
        try:
            return [FitResult(tuple(faces)) for faces in self._fit_faces(pictures, refine)] if pictures else []
        except Exception as error:
            logger.warning("a batch of %d pictures failed (%s); fitting them one by one", len(pictures), type(error))
        return [self._fit_single(picture, refine) for picture in pictures]

    def _fit_single(self, picture: FaceLocations, refine: bool) -> FitResult:
        try:
            return FitResult(tuple(self._fit_faces([picture], refine)[0]))
        except DataError as error:
            return FitResult(error=str(error))
        except Exception:
            logger.exception("a picture cannot be fitted")
            return FitResult(failed=True)

    def _fit_faces(self, pictures: list[FaceLocations], refine: bool) -> list[list[FaceResult]]:
        faces = sum(len(picture.faces) for picture in pictures)
        least = 2 if self._reconstructor.device.type == "cpu" else self._settings.batch
        padding = [_padding_face(self._reconstructor.model.image_size)] * max(0, least - faces)
        fitted = self._reconstructor.fit([*pictures, *padding], None if refine else 0)
        return fitted[: len(pictures)]

    def _warm_up(self) -> None:
        """Compile the kernels, then time a full batch to set the time limit of later ones."""
        full = [FitRequest(_padding_face(self._reconstructor.model.image_size), True)] * self._settings.batch
        self.fit([FitRequest(full[0].located, False), full[0]])
        start = time.monotonic()
        self.fit(full)
        self._limit = max(self._settings.stuck_seconds, _STUCK_FACTOR * (time.monotonic() - start))


def _padding_face(size: int) -> FaceLocations:
    """Return a grey crop without a face, which pads a batch."""
    grey = np.full((size, size, 3), 128, np.uint8)
    return FaceLocations(grey, [Detection((0.0, 0.0, float(size), float(size)))], "picture")


def split_faces(located: FaceLocations, max_faces: int) -> list[FaceLocations]:
    """Split the faces of a picture into parts of at most `max_faces`."""
    return [
        replace(located, faces=located.faces[start : start + max_faces])
        for start in range(0, len(located.faces), max_faces)
    ]


def move_to_device(reconstructor: Reconstructor, device: str) -> Reconstructor:
    """Move networks and face model of a reconstructor to a device, in place; return it."""
    reconstructor.model.focus.to(torch.device(device))
    return reconstructor
