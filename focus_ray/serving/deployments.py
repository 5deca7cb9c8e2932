"""Ray Serve application: deployments of the ingress, the model and the result store."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ray import serve
from ray.serve import Application, Deployment
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.serving.admission import admit_once
from focus_ray.serving.app import create_app
from focus_ray.serving.batch_queue import BatchQueue
from focus_ray.serving.exposition import scrape_metrics
from focus_ray.serving.fitting import FitRequest, FitResult, Fitter, ModelInfo, RenderContext, move_to_device
from focus_ray.serving.metrics import RayMeters
from focus_ray.serving.model_source import ModelSource, PriorSource, load_reconstructor
from focus_ray.serving.remote_replicas import RemoteModel, RemoteResultStore
from focus_ray.serving.request_metrics import create_request_metrics
from focus_ray.serving.result_store import InMemoryResultStore
from focus_ray.serving.service import ReconstructionService
from focus_ray.serving.settings import ScalingSettings, ServingSettings

NAME = "focus"
_HEALTH_SECONDS = 3.0  # between two checks; three failures in a row stop a replica
_HEALTH_WAIT = 4.0  # s, time limit of a check
_GRACE_SECONDS = 20.0  # for a stopping replica to finish its requests
_MAX_INGRESS_REQUESTS = 1024  # at once; AdmissionMiddleware has the effective limit
_NICE = 5  # niceness of the model: the ingress has priority


class Model:
    """A replica of the model, which fits faces of several requests as a batch."""

    def __init__(self, settings: dict[str, Any], source: ModelSource, prior: PriorSource, cache: str) -> None:
        import torch

        chosen = ServingSettings.model_validate(settings)
        with suppress(OSError):
            os.nice(_NICE)
        torch.set_num_threads(chosen.batching.threads or max(1, int(chosen.models.cpus)))
        reconstructor = load_reconstructor(source, prior, Path(cache))
        if chosen.models.gpus:
            reconstructor = move_to_device(reconstructor, "cuda")
        self._fitter = Fitter(reconstructor, chosen.batching, source.registered)
        self._meters = RayMeters()
        self._meters.set(
            "focus_model_info", 1, version=self._fitter.model_info.version, registered=source.registered or ""
        )
        batching = chosen.batching
        self._batches = BatchQueue(self._fitter.fit, batching.batch, batching.batch_wait_seconds, self._meters)

    async def fit(self, request: FitRequest) -> FitResult:
        """Fit the faces of one request, in a batch with those of other requests."""
        return await self._batches.fit(request)

    async def model_info(self) -> ModelInfo:
        """Return the description of the loaded model."""
        return self._fitter.model_info

    async def render_context(self) -> RenderContext:
        """Return face model and camera for rendering its faces."""
        return self._fitter.render_context

    def check_health(self) -> None:
        """Check that the model is not stuck; if this raises, Ray Serve replaces the replica.

        Raises:
            ModelError: the current batch exceeds its time limit.
        """
        self._fitter.check_health()


class Results:
    """In-memory store of the outputs that are requested as links."""

    def __init__(self, settings: dict[str, Any]) -> None:
        chosen = ServingSettings.model_validate(settings)
        self._kept = InMemoryResultStore(chosen.max_link_bytes, chosen.links_seconds, time.monotonic)

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Store a result; return its name.

        Args:
            content: bytes of the file.
            media_type: its type.
            owner: name of the client's key; None: anybody without a key.

        Raises:
            Problem: the result is larger than the store.
        """
        return self._kept.put(content, media_type, owner)

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """Return content and media type of a result; None for other owners and after its lifetime."""
        return self._kept.get(name, owner)


@serve.ingress()
class Ingress:
    """An HTTP replica: decodes pictures, detects faces, calls the model and renders the outputs."""

    def __init__(
        self, settings: dict[str, Any], detector: DetectorSpec, models: DeploymentHandle, results: DeploymentHandle
    ) -> None:
        import cv2

        cv2.setNumThreads(1)  # one core for each thread of the service
        self._settings = ServingSettings.model_validate(settings)
        backend = RemoteModel(models, self._settings)
        self.service = ReconstructionService(backend, self._settings, RayMeters(), detector)
        self.results = RemoteResultStore(results, self._settings)

    async def metrics(self) -> str:
        """Return the body of GET /metrics."""
        return await scrape_metrics()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return admit_once(create_app(self, self._settings), self._settings, create_request_metrics())


def endpoint(
    settings: ServingSettings, source: ModelSource, prior: PriorSource, detector: DetectorSpec, cache: Path
) -> Application:
    """Build the Ray Serve application that `serve run` and `focus-ray serve` deploy.

    Args:
        settings: of the endpoint.
        source: resolved model.
        prior: resolved misfit prior.
        detector: resolved detector, whose weights the replicas get.
        cache: folder for fetched models, on each node.
    """
    plain = settings.model_dump(mode="json")
    results = _deployment(Results).options(
        num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0}, **_health()
    )
    model = _deployment(Model).options(
        # Requests queue in the replica, which forms the batches; a router would retry them again and again.
        max_ongoing_requests=settings.batching.batch + settings.batching.queue,
        max_queued_requests=settings.batching.queue,
        autoscaling_config=_autoscaling(settings.models),
        ray_actor_options={"num_cpus": settings.models.cpus, "num_gpus": settings.models.gpus},
        **_health(),
    )
    ingress = _deployment(Ingress).options(
        max_ongoing_requests=_MAX_INGRESS_REQUESTS,
        autoscaling_config=_autoscaling(settings.ingress),
        ray_actor_options={"num_cpus": settings.ingress.cpus},
        **_health(),
    )
    return ingress.bind(plain, detector, model.bind(plain, source, prior, str(cache)), results.bind(plain))


def _deployment(kind: type) -> Deployment:
    return cast(Deployment, serve.deployment(kind))


def _autoscaling(scaling: ScalingSettings) -> dict[str, Any]:
    return {
        "min_replicas": scaling.least,
        "max_replicas": scaling.most,
        "target_ongoing_requests": scaling.ongoing,
        "upscale_delay_s": scaling.up_seconds,
        "downscale_delay_s": scaling.down_seconds,
    }


def _health() -> dict[str, Any]:
    """Return health options: new replicas start before old ones stop; a failed one is detected within 30 s."""
    return {
        "max_surge_percent": 100,
        "health_check_period_s": _HEALTH_SECONDS,
        "health_check_timeout_s": _HEALTH_WAIT,
        "graceful_shutdown_timeout_s": _GRACE_SECONDS,
        "max_constructor_retry_count": 3,
    }
