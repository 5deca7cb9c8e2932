"""Shared by all pools of Ray tasks: settings, one thread a task, inputs loaded once a process, errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from focus_ray.errors import ClusterError, FocusRayError
from focus_ray.runtime.ray_cluster import ClusterSettings, connect_ray

if TYPE_CHECKING:
    import ray
    from ray.exceptions import RayError

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class PoolSettings:
    """Number of parallel tasks and their resources. They do not change a bit of the result."""

    tasks: int = 2
    gpu_share: float = 0.0  # of a GPU, for each task
    max_retries: int = 20  # of one task, where its worker dies


@contextmanager
def task_cluster(settings: PoolSettings | None) -> Iterator[None]:
    """Ray, if there are to be tasks. Raises ConfigError, ClusterError."""
    if settings is None:
        yield
        return
    with connect_ray(ClusterSettings(workers=settings.tasks, gpu=settings.gpu_share > 0, cpus_per_worker=1)):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread, since rounding depends on the number; restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_loaded: dict[str, Any] = {}  # by this process, by the reference to it: one at a time


def load_once(ref: "ray.ObjectRef[Any]", prepare: Callable[[Any, str], Any]) -> Any:
    """The object of a reference, fetched and prepared for this process's device once.

    A task is given the reference in a list: only a process that has not seen it follows it.
    """
    import ray

    name = ref.hex()
    if name not in _loaded:
        torch.set_num_threads(1)  # one core a task, and the same bits everywhere
        _loaded.clear()
        _loaded[name] = prepare(ray.get(ref), "cuda" if ray.get_gpu_ids() else "cpu")
    return _loaded[name]


def to_package_error(error: "RayError", label: str) -> FocusRayError:
    """The error of the package that a task raised, or that the cluster gave up."""
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError) and isinstance(error.cause, FocusRayError):
        return error.cause
    reason = " ".join(str(error).split())[:300]
    return ClusterError(f"the tasks of the {label} ended ({reason}); run the same command to resume")
