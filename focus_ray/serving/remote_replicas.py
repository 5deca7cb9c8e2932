"""Clients of the other deployments: retry after a replica dies; map Ray Serve errors to problem responses."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from focus_ray.serving.fitting import FitRequest, FitResult, ModelInfo, RenderContext
from focus_ray.serving.problems import Problem
from focus_ray.serving.result_store import check_size
from focus_ray.serving.settings import ServingSettings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

logger = logging.getLogger(__name__)

_MAX_ATTEMPTS = 4
_PAUSE = 0.1  # s after the first attempt, doubled each time
_INFO_TTL = 2.0  # s that the model info is cached
_MAX_VERSION_ATTEMPTS = 16  # calls to find a replica of one version

T = TypeVar("T")


class RemoteModel:
    """Client of the model's deployment. A fit has no side effects, so it may be retried."""

    def __init__(self, handle: "DeploymentHandle", settings: ServingSettings) -> None:
        self._handle = handle
        self._settings = settings
        self._info: tuple[float, ModelInfo] | None = None
        self._render_context: RenderContext | None = None

    async def fit(self, request: FitRequest) -> FitResult:
        """Fit the faces of a picture on a replica.

        Raises:
            Problem: no replica is available or responds in time, or the replica failed.
        """
        return await self._call("fit", request)

    async def model_info(self) -> ModelInfo:
        """Return the description of the loaded model, cached for 2 s.

        Raises:
            Problem: no replica is available or responds in time, or the replica failed.
        """
        now = time.monotonic()
        if self._info is None or now - self._info[0] > _INFO_TTL:
            self._info = (now, await self._call("model_info"))
        return self._info[1]

    async def render_context(self, version: str) -> RenderContext:
        """Return face model and camera of one version of the model.

        While a model is being replaced, calls reach old and new replicas, so it calls until the version matches.

        Args:
            version: of the model that fitted the faces.

        Raises:
            Problem: no replica of the version is left, or none is available or responds in time.
        """
        for _ in range(_MAX_VERSION_ATTEMPTS):
            if self._render_context is not None and self._render_context.version == version:
                return self._render_context
            self._render_context = await self._call("render_context")
        raise self._busy("the model was replaced during the request", "model_lost")

    async def _call(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._settings.batching.seconds
        for attempt in range(_MAX_ATTEMPTS):
            try:
                left = max(0.001, deadline - time.monotonic())
                return await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), left)
            except (BackPressureError, DeploymentUnavailableError):
                raise self._busy("all replicas of the model are busy", "model_queue") from None
            except TimeoutError:
                raise self._busy("the model did not respond in time", "model_time") from None
            except RayTaskError:  # a dead actor raises RayActorError
                logger.exception("a replica of the model failed in %s", method)
                raise Problem(
                    "internal", "the model failed and the error has been logged; report it with the request's id"
                ) from None
            except RayActorError:
                logger.warning("a replica of the model died during a call; retrying on another")
                await asyncio.sleep(_PAUSE * 2**attempt)
        raise self._busy("the model is restarting", "model_lost")

    def _busy(self, detail: str, reason: str) -> Problem:
        seconds = self._settings.http.retry_seconds
        return Problem("overloaded", f"{detail}; retry later", retry_after=seconds, reason=reason)


class RemoteResultStore:
    """Client of the one replica of the result store."""

    def __init__(self, handle: "DeploymentHandle", settings: ServingSettings) -> None:
        self._handle = handle
        self._settings = settings

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Store a result for some minutes under a random name.

        Args:
            content: bytes of the file.
            media_type: its type.
            owner: name of the client's key; None: anybody without a key.

        Returns:
            The name.

        Raises:
            Problem: the result is larger than the store, or the store is not available.
        """
        check_size(content, self._settings.max_link_bytes)
        return await self._await_response(self._handle.put.remote(content, media_type, owner))

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """Return content and media type of a result; None for other owners and after its lifetime.

        Raises:
            Problem: the store is not available.
        """
        return await self._await_response(self._handle.get.remote(name, owner))

    async def _await_response(self, response: Awaitable[T]) -> T:
        try:
            return await response
        except (RayError, BackPressureError, DeploymentUnavailableError):
            logger.warning("the result store did not respond", exc_info=True)
            wait = self._settings.http.retry_seconds
            raise Problem(
                "overloaded",
                "the result store is restarting; retry, or use delivery=inline",
                retry_after=wait,
                reason="links",
            ) from None
