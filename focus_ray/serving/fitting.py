"""Model of a replica: fits faces of several requests as one batch, with the result that each has by itself."""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from focus_ray.data.detect import Detection
from focus_ray.errors import DataError, ModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.serving.settings import BatchingSettings

logger = logging.getLogger(__name__)

_STUCK_FACTOR = (
    4.0  # times as long as a whole batch takes at the start, a batch may take before the model counts as stuck
)


@dataclass(frozen=True)
class FitRequest:
    """A picture with at most a batch of faces, and whether their fit is refined."""

    located: FaceLocations
    refine: bool


@dataclass(frozen=True)
class FitResult:
    """The faces of a FitRequest, or the reason why there are none; failed: a fault of the model."""

    faces: tuple[FaceResult, ...] = ()
    error: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """The loaded model, as the ingress reports it."""

    version: str
    registered: str | None
    image_size: int
    vertices: int
    triangles: int
    refine_steps: int
    prior: Literal["none", "one_pass", "refined"]


@dataclass(frozen=True, eq=False)
class RenderContext:
    """What is needed to draw a face that this version of the model has fitted."""

    version: str
    face_model: MorphableModel
    camera: Camera


class Fitter:
    """Fits batches on one thread and records when the current batch started.

    An answer depends on its own picture only, to the bit: sums are ordered by the number of rows they run over, and
    refinement makes a last digit visible (0.2 sigma on weak modes). On one thread of a CPU every number of rows from
    two on gives the same bits, so a face is never fitted alone; on an accelerator each batch has one size. Several
    threads of a CPU may divide the rows of a product between them: then the first pass differs by rounding.
    """

    def __init__(self, reconstructor: Reconstructor, settings: BatchingSettings, registered: str | None = None) -> None:
        self._reconstructor = reconstructor
        self._settings = settings
        self._registered = registered
        self._batch_started: float | None = None
        self._limit = float("inf")  # none while kernels compile
        self._warm_up()

    @property
    def card(self) -> ModelInfo:
        """The loaded model."""
        model, face = self._reconstructor.model, self._reconstructor.model.focus.face_model
        return ModelInfo(
            version=model.version,
            registered=self._registered,
            image_size=model.image_size,
            vertices=face.n_vertices,
            triangles=len(face.faces),
            refine_steps=model.refine.steps,
            prior=self._prior_scope(),
        )

    def _prior_scope(self) -> Literal["none", "one_pass", "refined"]:
        """Which answers the prior was measured for."""
        model, prior = self._reconstructor.model, self._reconstructor.prior
        if prior is None:
            return "none"
        if prior.matches(model, 0):
            return "one_pass"
        return "refined" if prior.matches(model, model.refine.steps) else "none"

    @property
    def drawing(self) -> RenderContext:
        """What is needed to draw its faces, on the CPU."""
        model, focus = self._reconstructor.model, self._reconstructor.model.focus
        return RenderContext(model.version, copy.deepcopy(focus.face_model).cpu(), focus.renderer.camera)

    def fit(self, batch: Sequence[FitRequest]) -> list[FitResult]:
        """The faces of each request; one that cannot be fitted gets an error of its own."""
        self._batch_started = time.monotonic()
        try:
            answers: dict[int, FitResult] = {}
            for refine in (False, True):
                places = [place for place, one in enumerate(batch) if one.refine == refine]
                found = self._fit_batch([batch[place].located for place in places], refine)
                answers |= dict(zip(places, found, strict=True))
            return [answers[place] for place in range(len(batch))]
        finally:
            self._batch_started = None

    def batch_seconds(self) -> float:
        """How long the batch at hand has taken so far; 0 between two."""
        since = self._batch_started
        return 0.0 if since is None else time.monotonic() - since

    def check_health(self) -> None:
        """Raises ModelError where a batch takes so long that the model must be stuck."""
        if (seconds := self.batch_seconds()) > self._limit:
            raise ModelError(f"a batch has taken {seconds:.0f} s, the limit is {self._limit:.0f} s; start it anew")

    def _fit_batch(self, pictures: list[FaceLocations], refine: bool) -> list[FitResult]:
        """One batch; where something is wrong with it, one picture after the other."""
        try:
            return [FitResult(tuple(faces)) for faces in self._fit_faces(pictures, refine)] if pictures else []
        except Exception as error:
            logger.warning("a batch of %d pictures failed (%s); each is tried by itself", len(pictures), type(error))
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
        company = [_padding_face(self._reconstructor.model.image_size)] * max(0, least - faces)
        fitted = self._reconstructor.fit([*pictures, *company], None if refine else 0)
        return fitted[: len(pictures)]

    def _warm_up(self) -> None:
        """Compile the kernels, then time a whole batch: the limit for a stuck model follows from it."""
        whole = [FitRequest(_padding_face(self._reconstructor.model.image_size), True)] * self._settings.batch
        self.fit([FitRequest(whole[0].located, False), whole[0]])
        start = time.monotonic()
        self.fit(whole)
        self._limit = max(self._settings.stuck_seconds, _STUCK_FACTOR * (time.monotonic() - start))


def _padding_face(size: int) -> FaceLocations:
    """A grey crop without a face, that fills up a batch."""
    grey = np.full((size, size, 3), 128, np.uint8)
    return FaceLocations(grey, [Detection((0.0, 0.0, float(size), float(size)))], "picture")


def split_faces(located: FaceLocations, max_faces: int) -> list[FaceLocations]:
    """The picture with at most so many of its faces at a time."""
    return [
        replace(located, faces=located.faces[start : start + max_faces])
        for start in range(0, len(located.faces), max_faces)
    ]


def move_to_device(reconstructor: Reconstructor, device: str) -> Reconstructor:
    """The same, its networks and face model moved."""
    reconstructor.model.focus.to(torch.device(device))
    return reconstructor
