"""Batches by step, prefetched by a thread or by other processes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from focus_ray.data.sample import Batch
from focus_ray.focus.state import Targets

if TYPE_CHECKING:
    from focus_ray.data.ingest import BatchFactory, StepStream


@runtime_checkable
class BatchSource(Protocol):
    """Where a run's batches come from: a context manager, asked for one step after the other."""

    def targets(self, step: int) -> Targets:
        """What the method learns from at `step`."""
        ...

    def __enter__(self) -> "BatchSource": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PrefetchSource:
    """Calls `batch_of(step)` for the next steps while this one trains; the batches do not depend on it.

    Use it as a context manager: leaving it waits for the call in flight and drops the rest.
    """

    def __init__(self, batch_of: Callable[[int], Batch], end: int, first: int = 0, prefetch: int = 2):
        """first: number of the batch's first face in the global batch. end: steps there are."""
        self.batch_of = batch_of
        self.first = first
        self.end = end
        self.prefetch = prefetch
        self._pending: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def targets(self, step: int) -> Targets:
        """What the method learns from at `step`."""
        self._pending = {at: future for at, future in self._pending.items() if at >= step}
        for at in range(step, min(step + self.prefetch + 1, self.end)):
            if at not in self._pending:
                self._pending[at] = self._thread.submit(self.batch_of, at)
        batch = self._pending.pop(step).result()
        return Targets(batch.images, batch.landmarks, self.first, batch.masks)

    def __enter__(self) -> "PrefetchSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


class RayDataSource:
    """Batches that `actors` actors of Ray Data make for this worker; they start with the first that is asked for."""

    def __init__(self, make: "BatchFactory", end: int, first: int, actors: int):
        """make: builds the batches' source in each actor. first, end: as for Lookahead."""
        self.make = make
        self.end = end
        self.first = first
        self.actors = actors
        self._stream: StepStream | None = None

    def targets(self, step: int) -> Targets:
        """What the method learns from at `step`, the one after the last."""
        if self._stream is None:
            from focus_ray.data.ingest import StepStream

            self._stream = StepStream(self.make, step, self.end, actors=self.actors)
        batch = self._stream.batch(step)
        return Targets(batch.images, batch.landmarks, self.first, batch.masks)

    def __enter__(self) -> "RayDataSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
