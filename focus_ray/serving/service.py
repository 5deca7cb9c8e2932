"""Reconstruction service: decodes a picture, locates its faces, calls the model, renders the requested outputs."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.data.detectors.detection import Detector
from focus_ray.data.detectors.haar import HaarSettings
from focus_ray.errors import ConfigError, DataError
from focus_ray.inference.face_locations import FaceLocations, locate_faces
from focus_ray.inference.face_result import FaceResult
from focus_ray.serving import outputs
from focus_ray.serving.fitting import FitRequest, FitResult, ModelInfo, RenderContext, split_faces
from focus_ray.serving.image_checks import decode, megapixels
from focus_ray.serving.metrics import Meters, NoMeters
from focus_ray.serving.problems import Problem
from focus_ray.serving.schema import Options, Reconstruction, Size
from focus_ray.serving.settings import ServingSettings

T = TypeVar("T")

_MAX_FIT_ATTEMPTS = 3  # of a picture whose faces were fitted by two versions of the model
_CANDIDATES = 8  # detections that the thorough search checks again; some textures give dozens
_STAGE_METRICS = {
    "decode": "focus_decode_seconds",
    "detect": "focus_detection_seconds",
    "draw": "focus_drawing_seconds",
}
_NICENESS = 10  # of the compute threads: the event loop has priority


@runtime_checkable
class ModelBackend(Protocol):
    """The model, local or remote."""

    async def fit(self, request: FitRequest) -> FitResult: ...

    async def model_info(self) -> ModelInfo: ...

    async def render_context(self, version: str) -> RenderContext: ...


@dataclass
class StageTimer:
    """Milliseconds by stage, of one request."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, since: float) -> None:
        """Add the time since `since` (time.perf_counter, s) to a stage."""
        passed = (time.perf_counter() - since) * 1e3
        self.milliseconds[stage] = round(self.milliseconds.get(stage, 0.0) + passed, 3)


class ReconstructionService:
    """Reconstructs pictures. Its own threads decode, detect and render; the event loop only waits."""

    def __init__(
        self,
        backend: ModelBackend,
        settings: ServingSettings,
        meters: Meters | None = None,
        detector: DetectorSpec | None = None,
    ) -> None:
        """Create the service and its threads.

        Args:
            backend: the model.
            settings: of the endpoint.
            meters: receives the metrics; None: no metrics.
            detector: None: resolved from the settings.
        """
        self._backend = backend
        self._meters = meters or NoMeters()
        self._settings = settings
        self.detector = resolve_endpoint_detector(settings) if detector is None else detector
        threads = max(1, round(settings.ingress.cpus))
        self._pixel_budget = PixelBudget(settings.admission.megapixels_at_once)
        self._executor = ThreadPoolExecutor(threads, "service", initializer=_lower_priority)
        self._thread_local = threading.local()

    async def model_info(self) -> ModelInfo:
        """Return the description of the loaded model.

        Raises:
            Problem: the model is not available.
        """
        return await self._backend.model_info()

    async def reconstruct(
        self, content: bytes, options: Options, request_id: str, deliver: outputs.Deliver
    ) -> Reconstruction:
        """Reconstruct one picture.

        Args:
            content: bytes of the picture.
            options: of the request.
            request_id: for the response.
            deliver: makes the entry of each output in the response.

        Raises:
            Problem: the picture or an option is refused, or the model is not available or failed.
        """
        info = await self._backend.model_info()
        refine = self._settings.refine if options.refine is None else options.refine
        _check_prior(options, refine, info)
        times = StageTimer()
        async with self._pixel_budget.reserve(megapixels(content, self._settings.admission)):
            seen = await self._on_thread(self._locate, content, options, times)
            since = time.perf_counter()
            faces = await self._fit_faces(seen, refine)
            times.add("model", since)
            if options.prior == "off":
                faces = [_remove_correction(face) for face in faces]
            since = time.perf_counter()
            made = await self._draw_outputs(seen.image, faces, options)
            answers = [
                outputs.face_response(face, files, deliver) for (face, _), files in zip(faces, made.faces, strict=True)
            ]
            of_picture = outputs.deliver_files(made.picture, deliver)
            times.add("draw", since)
        self._observe(times, len(faces))
        return Reconstruction(
            request_id=request_id,
            model_version=faces[0].face.model_version if faces else info.version,
            image=Size(width=seen.image.shape[1], height=seen.image.shape[0]),
            faces=answers,
            outputs=of_picture,
            milliseconds=times.milliseconds,
        )

    async def _draw_outputs(
        self, image: np.ndarray, faces: Sequence[FaceResult], options: Options
    ) -> outputs.OutputFiles:
        if not faces or not options.outputs:
            return outputs.OutputFiles([{} for _ in faces], {})
        context = await self._backend.render_context(faces[0].face.model_version)
        return await self._on_thread(
            outputs.encode_outputs,
            image,
            faces,
            options.outputs,
            context.face_model,
            context.camera,
            options.texture,
        )

    def _observe(self, times: StageTimer, faces: int) -> None:
        for stage, name in _STAGE_METRICS.items():
            self._meters.observe(name, times.milliseconds[stage] / 1e3)
        self._meters.observe("focus_faces", faces)

    def close(self) -> None:
        """Stop the threads; work that has not started is cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _on_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def _locate(self, content: bytes, options: Options, times: StageTimer) -> FaceLocations:
        since = time.perf_counter()
        image = decode(content, self._settings.admission)
        times.add("decode", since)
        since = time.perf_counter()
        landmarks = None if options.landmarks is None else np.array(options.landmarks)
        try:
            seen = locate_faces(image, self._detector(), landmarks=landmarks, box=options.box, aligned=options.aligned)
        except (ConfigError, DataError) as error:
            raise Problem("unprocessable", str(error)) from None
        times.add("detect", since)
        most = min(options.max_faces, self._settings.admission.faces)
        return replace(seen, faces=seen.faces[:most])

    def _detector(self) -> Detector:
        """Return the detector of the calling thread; detectors have scratch memory and are not thread-safe."""
        if not hasattr(self._thread_local, "detector"):
            self._thread_local.detector = self.detector.build()
        return self._thread_local.detector

    async def _fit_faces(self, seen: FaceLocations, refine: bool) -> list[FaceResult]:
        """Fit all faces by one version of the model, also while the model is replaced. Raises Problem."""
        parts = split_faces(seen, self._settings.batching.batch)
        for _ in range(_MAX_FIT_ATTEMPTS):
            found = await asyncio.gather(*(self._backend.fit(FitRequest(part, refine)) for part in parts))
            faces = [face for part in found for face in _faces_or_raise(part)]
            if len({face.model_version for face, _ in faces}) <= 1:
                return faces
        wait = self._settings.http.retry_seconds
        raise Problem("overloaded", "the model is being replaced; retry later", retry_after=wait, reason="model_lost")


def resolve_endpoint_detector(settings: ServingSettings) -> DetectorSpec:
    """Choose the detector of an endpoint and read its weights.

    Raises:
        ConfigError: its weights are missing or altered, or its package is not installed.
        StorageError: a weight file cannot be read.
    """
    haar = HaarSettings(candidates=_CANDIDATES)
    name = {"fast": "haar-fast", "thorough": "haar"}.get(settings.detector, settings.detector)
    found = resolve_detector(name, settings.detector_weights, haar)
    if name == "auto" and found.info.name == "haar":
        return resolve_detector("haar-fast", haar=haar)
    return found


class PixelBudget:
    """Limits the pixels of all pictures in progress; further pictures wait."""

    def __init__(self, megapixels: float) -> None:
        """Create a budget of so many megapixels."""
        self._max_megapixels = megapixels
        self._in_use = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, megapixels: float) -> AsyncIterator[None]:
        """Reserve a part of the budget for the duration of the block; wait until it is available.

        A picture larger than the whole budget waits until no other is in progress.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._in_use or self._in_use + megapixels <= self._max_megapixels)
            self._in_use += megapixels
        try:
            yield
        finally:
            async with self._changed:
                self._in_use -= megapixels
                self._changed.notify_all()


def _faces_or_raise(result: FitResult) -> Sequence[FaceResult]:
    """Return the faces of a result; raise its error as Problem."""
    if result.failed:
        raise Problem(
            "internal",
            "the model failed on this picture and the error has been logged; report it with the request's id",
        )
    if result.error is not None:
        raise Problem("unprocessable", result.error)
    return result.faces


def _check_prior(options: Options, refine: bool, info: ModelInfo) -> None:
    """Raise Problem if prior=on and the prior was not measured for such results."""
    if options.prior == "on" and info.prior != ("refined" if refine else "one_pass"):
        has = {"none": "has no prior", "one_pass": "has one for refine=false", "refined": "has one for refine=true"}
        raise Problem("unprocessable", f"prior=on, but this endpoint {has[info.prior]}; use prior=auto")


def _remove_correction(result: FaceResult) -> FaceResult:
    """Return the face without the correction by the misfit prior."""
    face, arrays = result
    return FaceResult(face.model_copy(update={"corrected": False}), replace(arrays, corrected_mesh=None))


def _lower_priority() -> None:
    """Lower the priority of a compute thread below the other threads of the process."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
