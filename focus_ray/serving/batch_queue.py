"""Batches of faces from several requests: a free model takes as many waiting faces as fit.

Ray Serve's own batching closes a batch before the model is free, and leaves it as it is until then: under load most of
its batches were of one or two (benchmarks/serving.py: less than half of the requests a second).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from focus_ray.serving.fitting import FitRequest, FitResult
from focus_ray.serving.metrics import Meters, NoMeters


@dataclass(frozen=True, eq=False)  # each is another one
class QueuedRequest:
    """A queued request, the time when it was queued, and the future of its result."""

    request: FitRequest
    queued_at: float
    future: "asyncio.Future[FitResult]"


class BatchQueue:
    """Queue in front of one model. Belongs to one event loop; the model computes in a thread."""

    def __init__(
        self,
        fit: Callable[[list[FitRequest]], list[FitResult]],
        max_faces: int,
        wait_seconds: float,
        meters: Meters | None = None,
    ) -> None:
        """max_faces: faces that are fitted together; wait_seconds: that a batch which is not full waits for more."""
        self._fit = fit
        self._max_faces = max_faces
        self._wait_seconds = wait_seconds
        self._meters = meters or NoMeters()
        self._queue: deque[QueuedRequest] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task[None] | None = None

    async def fit(self, request: FitRequest) -> FitResult:
        """The faces of one request. Raises what the model raises."""
        loop = asyncio.get_running_loop()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run())
        one = QueuedRequest(request, time.monotonic(), loop.create_future())
        self._queue.append(one)
        self._arrived.set()
        self._report_queue_length()
        return await one.future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._fill_batch()
            batch = self._take_batch()
            if batch:
                await self._complete_batch(batch)

    async def _fill_batch(self) -> None:
        """Wait a moment for more, if there is room."""
        deadline = time.monotonic() + self._wait_seconds
        while count_faces(self._queue) < self._max_faces and (left := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def _take_batch(self) -> list[QueuedRequest]:
        """The oldest requests that fit, at least one; cancelled ones are dropped."""
        batch: list[QueuedRequest] = []
        while self._queue and (not batch or count_faces([*batch, self._queue[0]]) <= self._max_faces):
            one = self._queue.popleft()
            if not one.future.done():
                batch.append(one)
        if not self._queue:
            self._arrived.clear()
        self._report_queue_length()
        return batch

    async def _complete_batch(self, batch: list[QueuedRequest]) -> None:
        """Fit the batch and set a result or an exception on every future."""
        try:
            for one, found in zip(batch, await self._fit_batch(batch), strict=True):
                if not one.future.done():
                    one.future.set_result(found)
        except Exception as error:
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error)

    async def _fit_batch(self, batch: list[QueuedRequest]) -> list[FitResult]:
        begin = time.monotonic()
        for one in batch:
            self._meters.observe("focus_queue_seconds", begin - one.queued_at)
        self._meters.observe("focus_batch_faces", count_faces(batch))
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, self._fit, [one.request for one in batch])
        self._meters.observe("focus_model_seconds", time.monotonic() - begin)
        return found

    def _report_queue_length(self) -> None:
        self._meters.set("focus_waiting", len(self._queue))


def count_faces(batch: Iterable[QueuedRequest]) -> int:
    """The size of a batch."""
    return sum(len(one.request.located.faces) for one in batch)
