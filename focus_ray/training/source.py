"""The batch of each step, made a little ahead of time on another thread."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from focus_ray.data.sample import Batch
from focus_ray.focus.state import Targets


class Lookahead:
    """Calls `batch_of(step)` for the next steps while this one trains; the batches do not depend on it.

    Use it as a context manager: leaving it waits for the call in flight and drops the rest.
    """

    def __init__(self, batch_of: Callable[[int], Batch], end: int, first: int = 0, ahead: int = 2):
        """first: number of the batch's first face in the global batch. end: steps there are."""
        self.batch_of = batch_of
        self.first = first
        self.end = end
        self.ahead = ahead
        self._pending: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def targets(self, step: int) -> Targets:
        """What the method learns from at `step`."""
        self._pending = {at: future for at, future in self._pending.items() if at >= step}
        for at in range(step, min(step + self.ahead + 1, self.end)):
            if at not in self._pending:
                self._pending[at] = self._thread.submit(self.batch_of, at)
        batch = self._pending.pop(step).result()
        return Targets(batch.images, batch.landmarks, self.first)

    def __enter__(self) -> "Lookahead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
