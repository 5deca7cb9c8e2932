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
    """Source of a run's batches: a context manager whose `targets` is called for consecutive steps."""

    def targets(self, step: int) -> Targets:
        """Return the training batch of `step`."""
        ...

    def __enter__(self) -> "BatchSource": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PrefetchSource:
    """Makes the batches of the next steps in a thread while the current step trains.

    Leaving the context waits for the call in flight and drops the others. Prefetching does not change the batches.
    """

    def __init__(self, batch_of: Callable[[int], Batch], end: int, first: int = 0, prefetch: int = 2):
        """Start the thread.

        Args:
            batch_of: makes the batch of a step.
            end: number of steps of the run; no batch is made beyond it.
            first: position of the batch's first face in the global batch.
            prefetch: number of batches to make ahead.
        """
        self.batch_of = batch_of
        self.first = first
        self.end = end
        self.prefetch = prefetch
        self._pending: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def targets(self, step: int) -> Targets:
        """Return the training batch of `step`, and start to make the following ones."""
        self._pending = {at: future for at, future in self._pending.items() if at >= step}
        for at in range(step, min(step + self.prefetch + 1, self.end)):
            if at not in self._pending:
                self._pending[at] = self._thread.submit(self.batch_of, at)
        batch = self._pending.pop(step).result()
        numbers = None if batch.numbers is None else tuple(batch.numbers)
        return Targets(batch.images, batch.landmarks, self.first, batch.masks, batch.planted, numbers)

    def __enter__(self) -> "PrefetchSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


class RayDataSource:
    """Batches that actors of Ray Data make for this worker; the actors start with the first call of `targets`."""

    def __init__(self, make: "BatchFactory", end: int, first: int, actors: int):
        """Store the arguments.

        Args:
            make: builds the function that makes batches, once in each actor.
            end: number of steps of the run.
            first: position of the batch's first face in the global batch.
            actors: number of actors.
        """
        self.make = make
        self.end = end
        self.first = first
        self.actors = actors
        self._stream: StepStream | None = None

    def targets(self, step: int) -> Targets:
        """Return the training batch of `step`, which must follow the step of the last call."""
        if self._stream is None:
            from focus_ray.data.ingest import StepStream

            self._stream = StepStream(self.make, step, self.end, actors=self.actors)
        batch = self._stream.batch(step)
        return Targets(batch.images, batch.landmarks, self.first, batch.masks, batch.planted)

    def __enter__(self) -> "RayDataSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
