"""Runs the numbered pieces of a job, in any order, by a bounded number of Ray tasks or in this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import ray
from ray.exceptions import RayError

from focus_ray.errors import Interrupted
from focus_ray.runtime.tasks import POLL_SECONDS, PoolSettings, load_once, one_thread, to_package_error


@runtime_checkable
class Job(Protocol):
    """Work in numbered pieces. Tasks get a copy, which is prepared once in each process."""

    def prepare(self, device: str) -> None:
        """Move networks and tensors to a device."""
        ...

    def piece(self, number: int) -> Any:
        """Compute a piece. The result depends neither on the machine nor on other pieces."""
        ...


def run_tasks(
    job: Job, numbers: Sequence[int], settings: PoolSettings | None, should_stop: Callable[[], bool]
) -> Iterator[tuple[int, Any]]:
    """Run pieces of a job.

    Args:
        job: the job.
        numbers: pieces to run.
        settings: Ray tasks; None: this process runs the pieces one after the other.
        should_stop: polled between pieces.

    Returns:
        Iterator over number and result of each piece, in the order in which they finish.

    Raises:
        Interrupted: `should_stop` returned True.
        ClusterError: the tasks failed too often.
        FocusRayError: the error of a piece.
    """
    return (
        _run_locally(job, numbers, should_stop)
        if settings is None
        else _run_on_ray(job, numbers, settings, should_stop)
    )


def _run_locally(job: Job, numbers: Sequence[int], should_stop: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
    job.prepare("cpu")
    for number in numbers:
        if should_stop():
            raise interrupted_error()
        with one_thread():
            result = job.piece(number)
        yield number, result


def _run_on_ray(
    job: Job, numbers: Sequence[int], settings: PoolSettings, should_stop: Callable[[], bool]
) -> Iterator[tuple[int, Any]]:
    if not numbers:
        return
    task = ray.remote(_run_task).options(num_cpus=1, num_gpus=settings.gpu_share, max_retries=settings.max_retries)
    work = ray.put(job)
    waiting = iter(numbers)
    running: list[Any] = []
    try:
        while True:
            running += [task.remote([work], number) for number in islice(waiting, settings.tasks - len(running))]
            if not running:
                return
            if should_stop():
                raise interrupted_error()
            ended, running = ray.wait(running, timeout=POLL_SECONDS)
            yield from ray.get(ended)
    except RayError as error:
        raise to_package_error(error, "command") from error
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def flatten_in_order(problems: Mapping[int, Sequence[str]]) -> list[str]:
    """Return the lines of all pieces in the order of their numbers."""
    return [line for number in sorted(problems) for line in problems[number]]


def interrupted_error() -> Interrupted:
    """Return the error of a job after a stop request."""
    return Interrupted("stopped; finished work is kept, run the same command to resume")


def _run_task(job_ref: "list[ray.ObjectRef[Any]]", number: int) -> tuple[int, Any]:
    """Ray task that runs one piece."""
    return number, load_once(job_ref[0], _prepare).piece(number)


def _prepare(job: Job, device: str) -> Job:
    job.prepare(device)
    return job
