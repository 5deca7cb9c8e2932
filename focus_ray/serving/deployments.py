"""Ray Serve application: the ingress, the model, and the store of results that links lead to."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ray import serve
from ray.serve import Application, Deployment
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

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
_HEALTH_SECONDS = 3.0  # between two checks; three that fail in a row end a replica
_HEALTH_WAIT = 4.0
_GRACE_SECONDS = 20.0  # for what a replica has begun, when it is to end
_MAX_INGRESS_REQUESTS = 1024  # at once: AdmissionMiddleware counts them
_NICE = 5  # the ingress answers first


class Model:
    """A replica of the model: batches of faces from several requests."""

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
        self._meters.set("focus_model_info", 1, version=self._fitter.card.version, registered=source.registered or "")
        batching = chosen.batching
        self._batches = BatchQueue(self._fitter.fit, batching.batch, batching.batch_wait_seconds, self._meters)

    async def fit(self, sought: FitRequest) -> FitResult:
        """The faces of one request, fitted together with those of others."""
        return await self._batches.fit(sought)

    async def card(self) -> ModelInfo:
        """The loaded model."""
        return self._fitter.card

    async def drawing(self) -> RenderContext:
        """What is needed to draw its faces."""
        return self._fitter.drawing

    def check_health(self) -> None:
        """Raises ModelError where the model is stuck: Serve then replaces this replica."""
        self._fitter.check_health()


class Results:
    """Store of the results behind links, in the memory of one process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        chosen = ServingSettings.model_validate(settings)
        self._kept = InMemoryResultStore(chosen.max_link_bytes, chosen.links_seconds, time.monotonic)

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Store a result; returns its name."""
        return self._kept.put(content, media_type, owner)

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """The result of that name, for its owner."""
        return self._kept.get(name, owner)


@serve.ingress()
class Ingress:
    """A replica that speaks HTTP: it decodes, finds faces, asks the model, and draws."""

    def __init__(self, settings: dict[str, Any], models: DeploymentHandle, results: DeploymentHandle) -> None:
        import cv2

        cv2.setNumThreads(1)  # each of the service's threads has a core at most
        self._settings = ServingSettings.model_validate(settings)
        self.service = ReconstructionService(RemoteModel(models, self._settings), self._settings, RayMeters())
        self.results = RemoteResultStore(results, self._settings)

    async def metrics(self) -> str:
        """The text of GET /metrics."""
        return await scrape_metrics()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return admit_once(create_app(self, self._settings), self._settings, create_request_metrics())


def endpoint(settings: ServingSettings, source: ModelSource, prior: PriorSource, cache: Path) -> Application:
    """The application that `serve run` and `focus-ray serve` deploy."""
    plain = settings.model_dump(mode="json")
    results = _deployment(Results).options(
        num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0}, **_health()
    )
    model = _deployment(Model).options(
        # What waits, waits in the replica, where batches are made of it; a router would offer it again and again.
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
    return ingress.bind(plain, model.bind(plain, source, prior, str(cache)), results.bind(plain))


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
    """New replicas take over before old ones end; a sick one is found in well under half a minute."""
    return {
        "max_surge_percent": 100,
        "health_check_period_s": _HEALTH_SECONDS,
        "health_check_timeout_s": _HEALTH_WAIT,
        "graceful_shutdown_timeout_s": _GRACE_SECONDS,
        "max_constructor_retry_count": 3,
    }
