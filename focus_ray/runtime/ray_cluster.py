"""Connects to the Ray cluster in RAY_ADDRESS, or starts one on this machine for the duration of the run."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field

from focus_ray.errors import ClusterError, ConfigError
from focus_ray.settings import Settings

# Environment for Ray; variables that the user has set are kept.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in a configuration are relative to the user's working folder
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # with the old output, verbosity 0 silences Ray Tune
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # delay until a dead worker is detected and a checkpoint registered
}
LOCAL_RAY_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on the loopback interface only
    "RAY_worker_niceness": "0",  # Ray's default lowers the priority of workers
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # this machine is not preemptible
}
# Ray 2.60's node exits if its agents, Python processes, take more than 15 s to load, as on a busy or cold machine. At
# the next attempt their files are in the page cache.
MAX_START_ATTEMPTS = 4
# Size of a Unix socket's path without the terminating zero byte.
MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
MAX_PID = 4194304  # the largest of Linux
OBJECT_STORE_BYTES = 512 << 20  # for batches of images; Ray's default is a third of the memory

logger = logging.getLogger(__name__)


class ClusterSettings(Settings):
    """Number of workers and their resources. They do not affect the trained model."""

    workers: int = Field(default=1, ge=1)
    gpu: bool = False  # one for each worker
    cpus_per_worker: int | None = Field(default=None, ge=1)  # None: a fair share of the machine, or 1 on a cluster
    data_workers: int = Field(default=0, ge=0)  # processes that make batches for each worker; 0: a thread of the worker
    max_failures: int = Field(default=10, ge=-1)  # failed workers before the run ends; -1: no limit


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cluster_address() -> str | None:
    """Return the address of the cluster in RAY_ADDRESS; None if it is not set."""
    return os.environ.get("RAY_ADDRESS") or None


def socket_problem(pid: int = MAX_PID) -> str | None:
    """Check that the paths of Ray's sockets are short enough to start a node.

    Args:
        pid: id of the process that starts it; its digits are part of the paths.

    Returns:
        A message if they are too long, else None.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    session = f"session_2000-01-01_00-00-00_000000_{pid}"  # Ray's name of a session folder, with the time in µs
    beyond = len(os.fsencode(f"{folder}/ray/{session}/sockets/plasma_store")) - MAX_SOCKET_PATH_BYTES
    if beyond <= 0:
        return None
    return (
        f"the paths of Ray's sockets in {folder} would be {beyond} bytes too long; "
        "set RAY_TMPDIR or TMPDIR to a shorter folder, for instance /tmp"
    )


@contextmanager
def connect_ray(settings: ClusterSettings) -> Iterator[ClusterSettings]:
    """Connect to the cluster in RAY_ADDRESS, or start one here; shut it down after the block.

    An existing connection of this process is used and left open.

    Args:
        settings: workers and their resources.

    Yields:
        The settings with defaults resolved.

    Raises:
        ConfigError: this machine has fewer GPUs than the workers need.
        ClusterError: Ray cannot be started or reached.
    """
    for name, value in (RAY_ENVIRONMENT | (LOCAL_RAY_ENVIRONMENT if cluster_address() is None else {})).items():
        os.environ.setdefault(name, value)
    import ray

    connected_here = not ray.is_initialized()
    if connected_here:
        _connect(settings)
    try:
        yield _resolve_settings(settings)
    finally:
        if connected_here:
            ray.shutdown()


def _connect(settings: ClusterSettings) -> None:
    """Connect to the cluster in RAY_ADDRESS, or start one here. Raises ClusterError."""
    named = cluster_address()
    if named is None and (problem := socket_problem(os.getpid())) is not None:
        raise ClusterError(problem)
    starts = 1 if named is not None else MAX_START_ATTEMPTS
    for attempt in range(1, starts + 1):
        try:
            _init_ray(settings, named)
        except Exception as error:  # Ray raises plain Exception too
            reason = " ".join(str(error).split())[:300]
            if attempt < starts:
                logger.warning("Ray did not start (%s); trying again", reason)
                continue
            what = "cannot start Ray on this machine" if named is None else f"cannot reach the Ray cluster {named}"
            raise ClusterError(
                f"{what}: {reason}; see `focus-ray doctor`, or train in this process, without Ray"
            ) from None
        return


def _init_ray(settings: ClusterSettings, ray_address: str | None) -> None:
    import ray

    if ray.is_initialized():  # left over from a failed attempt
        ray.shutdown()
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if ray_address is not None:
        ray.init(address=ray_address, **quiet)
        return
    ray.init(
        address="local",
        num_cpus=max(cores(), settings.workers * (_cpus_per_worker(settings) + settings.data_workers)),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        **quiet,
    )


def _cpus_per_worker(settings: ClusterSettings) -> int:
    """Return the number of cores of a worker on this machine."""
    return settings.cpus_per_worker or max(1, cores() // settings.workers)


def _resolve_settings(settings: ClusterSettings) -> ClusterSettings:
    """Resolve the defaults. Raises ConfigError if this machine has too few GPUs."""
    import ray

    local = cluster_address() is None
    per_worker = _cpus_per_worker(settings) if local else settings.cpus_per_worker or 1
    settings = settings.model_copy(update={"cpus_per_worker": per_worker})
    if local:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if settings.gpu and gpus < settings.workers:
            raise ConfigError(
                f"{settings.workers} workers with one GPU each are requested, this machine has {gpus} GPUs; use fewer "
                "workers, or workers without GPU, or set RAY_ADDRESS to a cluster"
            )
    return settings


def missing_resources(settings: ClusterSettings) -> str | None:
    """Return a line on the resources that the run has to wait for; None if the cluster has enough free ones."""
    import ray

    needed = {"CPU": settings.workers * ((settings.cpus_per_worker or 1) + settings.data_workers)}
    if settings.gpu:
        needed["GPU"] = settings.workers
    free, total = ray.available_resources(), ray.cluster_resources()
    lacking = [
        f"{number} {kind} requested, {free.get(kind, 0):g} of {total.get(kind, 0):g} free"
        for kind, number in needed.items()
        if free.get(kind, 0) < number
    ]
    return f"waiting for the cluster: {'; '.join(lacking)}" if lacking else None
