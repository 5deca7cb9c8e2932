"""Handles of the other deployments: retry after a replica dies; map Ray Serve errors to problem responses."""

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
_PAUSE = 0.1  # s after the first try, then twice as long each time
_INFO_TTL = 2.0  # that a card is believed
_MAX_VERSION_ATTEMPTS = 16  # replicas that are asked for one of a version, at most

T = TypeVar("T")


class RemoteModel:
    """The model's deployment. A fit has no side effect, so it may be asked for twice."""

    def __init__(self, handle: "DeploymentHandle", settings: ServingSettings) -> None:
        self._handle = handle
        self._settings = settings
        self._info: tuple[float, ModelInfo] | None = None
        self._render_context: RenderContext | None = None

    async def fit(self, request: FitRequest) -> FitResult:
        """The faces of a picture, or what was wrong with it. Raises Problem where nobody has time."""
        return await self._call("fit", request)

    async def card(self) -> ModelInfo:
        """What answers, as it was a moment ago. Raises Problem where nobody does."""
        now = time.monotonic()
        if self._info is None or now - self._info[0] > _INFO_TTL:
            self._info = (now, await self._call("card"))
        return self._info[1]

    async def drawing(self, version: str) -> RenderContext:
        """What it takes to draw the faces that a version of the model has fitted. Raises Problem.

        While another model takes over, old and new replicas answer in turn.
        """
        for _ in range(_MAX_VERSION_ATTEMPTS):
            if self._render_context is not None and self._render_context.version == version:
                return self._render_context
            self._render_context = await self._call("drawing")
        raise self._busy("another model has just taken over", "model_lost")

    async def _call(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._settings.batching.seconds
        for attempt in range(_MAX_ATTEMPTS):
            try:
                left = max(0.001, deadline - time.monotonic())
                return await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), left)
            except (BackPressureError, DeploymentUnavailableError):
                raise self._busy("every model is busy", "model_queue") from None
            except TimeoutError:
                raise self._busy("the model did not answer in time", "model_time") from None
            except RayTaskError:  # an actor that died has an error of another type
                logger.exception("the model's replica failed at %s", method)
                raise Problem("internal", "the model failed; the error has been logged") from None
            except RayActorError:
                logger.warning("a replica of the model was lost while it was asked; asking another")
                await asyncio.sleep(_PAUSE * 2**attempt)
        raise self._busy("the model is starting anew", "model_lost")

    def _busy(self, detail: str, reason: str) -> Problem:
        seconds = self._settings.http.retry_seconds
        return Problem("overloaded", f"{detail}; try again in a moment", retry_after=seconds, reason=reason)


class RemoteResultStore:
    """The one replica that keeps what links lead to."""

    def __init__(self, handle: "DeploymentHandle", settings: ServingSettings) -> None:
        self._handle = handle
        self._settings = settings

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        """Keep it for some minutes, under a name that nobody guesses. Raises Problem."""
        check_size(content, self._settings.max_link_bytes)
        return await self._await_response(self._handle.put.remote(content, media_type, owner))

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        """What is kept under a name for its owner. Raises Problem."""
        return await self._await_response(self._handle.get.remote(name, owner))

    async def _await_response(self, response: Awaitable[T]) -> T:
        try:
            return await response
        except (RayError, BackPressureError, DeploymentUnavailableError):
            logger.warning("what keeps links did not answer", exc_info=True)
            wait = self._settings.http.retry_seconds
            raise Problem(
                "overloaded",
                "the result store is restarting; retry, or use delivery=inline",
                retry_after=wait,
                reason="links",
            ) from None
