"""Shared by all pools of Ray tasks: settings, one thread for each task, inputs loaded once in each process, errors."""

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
    """Number of parallel tasks and their resources. They do not change the result, bit for bit."""

    tasks: int = 2
    gpu_share: float = 0.0  # of a GPU, for each task
    max_retries: int = 20  # of a task whose worker process dies


@contextmanager
def task_cluster(settings: PoolSettings | None) -> Iterator[None]:
    """Connect to Ray, or start it, for the tasks of the block; do nothing without settings.

    Raises:
        ConfigError: this machine has fewer GPUs than the tasks need.
        ClusterError: Ray cannot be started or reached.
    """
    if settings is None:
        yield
        return
    with connect_ray(ClusterSettings(workers=settings.tasks, gpu=settings.gpu_share > 0, cpus_per_worker=1)):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread during the block, because rounding depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_loaded: dict[str, Any] = {}  # the last loaded object of this process, by its reference


def load_once(ref: "ray.ObjectRef[Any]", prepare: Callable[[Any, str], Any]) -> Any:
    """Return a referenced object, fetched and prepared only once in each process.

    Args:
        ref: reference to the object. Tasks get it inside a list, so that Ray does not fetch it for each task.
        prepare: called with the object and the device of this process.

    Returns:
        The result of `prepare`.
    """
    import ray

    name = ref.hex()
    if name not in _loaded:
        torch.set_num_threads(1)  # one core for each task, and the same rounding everywhere
        _loaded.clear()
        _loaded[name] = prepare(ray.get(ref), "cuda" if ray.get_gpu_ids() else "cpu")
    return _loaded[name]


def to_package_error(error: "RayError", label: str) -> FocusRayError:
    """Convert an error of Ray: to the package's error that the task raised, or to a ClusterError.

    Args:
        error: error of Ray.
        label: name of the job, for the message.
    """
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError) and isinstance(error.cause, FocusRayError):
        return error.cause
    reason = " ".join(str(error).split())[:300]
    return ClusterError(f"the tasks of the {label} ended ({reason}); run the same command to resume")
