"""Batch queue for faces from several requests: an idle model takes as many queued faces as fit.

Ray Serve's own batching closes a batch before the model is idle and does not add to it afterwards: under load most of
its batches had one or two requests (benchmarks/serving.py: less than half of the requests per second).
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


@dataclass(frozen=True, eq=False)  # compared by identity
class QueuedRequest:
    """A request, the time when it was queued (monotonic, s), and the future of its result."""

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
        """Create an empty queue; the worker task starts with the first request.

        Args:
            fit: the model; fits one batch of requests.
            max_faces: maximum number of faces in a batch.
            wait_seconds: time that an incomplete batch waits for more requests, s.
            meters: receives the metrics of queue and batches.
        """
        self._fit = fit
        self._max_faces = max_faces
        self._wait_seconds = wait_seconds
        self._meters = meters or NoMeters()
        self._queue: deque[QueuedRequest] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task[None] | None = None

    async def fit(self, request: FitRequest) -> FitResult:
        """Queue one request and wait for its faces.

        Raises:
            Exception: whatever the model raised for the batch.
        """
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
        """Wait up to `wait_seconds` for more requests while the batch is not full."""
        deadline = time.monotonic() + self._wait_seconds
        while self._waiting_faces() < self._max_faces and (left := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def _waiting_faces(self) -> int:
        return count_faces(one for one in self._queue if not one.future.done())

    def _take_batch(self) -> list[QueuedRequest]:
        """Take the oldest requests that fit, at least one; drop cancelled ones."""
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
        """Fit the batch and set the result or exception of each future."""
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
    """Count the faces of a batch."""
    return sum(len(one.request.located.faces) for one in batch)
