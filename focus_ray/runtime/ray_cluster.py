"""Connects to the named Ray cluster, or starts one on this machine for the duration of the run."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field

from focus_ray.errors import ClusterError, ConfigError
from focus_ray.settings import Settings

# What Ray is told before it starts, unless the user says otherwise.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in a configuration are relative to where the run was started
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Ray Tune is silent where it is asked to be
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a dead worker is noticed that soon, and a checkpoint taken note of
}
LOCAL_RAY_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on the loopback interface only
    "RAY_worker_niceness": "0",  # Ray makes workers stand behind everything else on the machine
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes this machine away
}
# Ray 2.60's node gives up where its agents, Python processes, take more than 15 s to load: a busy or cold machine. The
# next attempt finds their files in memory.
MAX_START_ATTEMPTS = 4
# What an address of a Unix socket holds, less the byte that ends it.
MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
MAX_PID = 4194304  # Linux gives no greater one
OBJECT_STORE_BYTES = 512 << 20  # batches of pictures pass through it; Ray's own default is a third of the memory

logger = logging.getLogger(__name__)


class ClusterSettings(Settings):
    """Number of workers and their resources. They do not change what is learned."""

    workers: int = Field(default=1, ge=1)
    gpu: bool = False  # one for each worker
    cpus_per_worker: int | None = Field(default=None, ge=1)  # None: a fair share of the machine, or 1 on a cluster
    data_workers: int = Field(default=0, ge=0)  # processes that make batches for each worker; 0: a thread of its own
    max_failures: int = Field(default=10, ge=-1)  # workers lost before the run gives up; -1: never


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cluster_address() -> str | None:
    """Address of the cluster from RAY_ADDRESS; None where it is not set."""
    return os.environ.get("RAY_ADDRESS") or None


def socket_problem(pid: int = MAX_PID) -> str | None:
    """Why the process `pid` cannot start a node: its sockets' paths would be too long; None where they are not."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    session = f"session_2000-01-01_00-00-00_000000_{pid}"  # as Ray calls its folders, the time in microseconds
    beyond = len(os.fsencode(f"{folder}/ray/{session}/sockets/plasma_store")) - MAX_SOCKET_PATH_BYTES
    if beyond <= 0:
        return None
    return (
        f"Ray's sockets in {folder} would have paths {beyond} bytes too long; "
        "set RAY_TMPDIR or TMPDIR to a shorter folder, /tmp for instance"
    )


@contextmanager
def connect_ray(settings: ClusterSettings) -> Iterator[ClusterSettings]:
    """Connect to the cluster; yields the settings with defaults resolved.

    Raises ConfigError where this machine cannot hold what is asked for, ClusterError where there is no cluster.
    """
    for name, value in (RAY_ENVIRONMENT | (LOCAL_RAY_ENVIRONMENT if cluster_address() is None else {})).items():
        os.environ.setdefault(name, value)
    import ray

    mine = not ray.is_initialized()
    if mine:
        _connect(settings)
    try:
        yield _resolve_settings(settings)
    finally:
        if mine:
            ray.shutdown()


def _connect(settings: ClusterSettings) -> None:
    """Connect to the cluster that is named, or start one here. Raises ClusterError."""
    named = cluster_address()
    if named is None and (problem := socket_problem(os.getpid())) is not None:
        raise ClusterError(problem)
    starts = 1 if named is not None else MAX_START_ATTEMPTS
    for attempt in range(1, starts + 1):
        try:
            _init_ray(settings, named)
        except Exception as error:  # Ray raises bare ones too
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

    if ray.is_initialized():  # half started, the time before
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
    """Cores of a worker on this machine."""
    return settings.cpus_per_worker or max(1, cores() // settings.workers)


def _resolve_settings(settings: ClusterSettings) -> ClusterSettings:
    """Settings with defaults resolved. Raises ConfigError where this machine has too few GPUs."""
    import ray

    local = cluster_address() is None
    per_worker = _cpus_per_worker(settings) if local else settings.cpus_per_worker or 1
    settings = settings.model_copy(update={"cpus_per_worker": per_worker})
    if local:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if settings.gpu and gpus < settings.workers:
            raise ConfigError(
                f"{settings.workers} workers with a GPU each are asked for, this machine has {gpus}; ask for fewer "
                "workers, or for none with a GPU, or name a cluster with RAY_ADDRESS"
            )
    return settings


def missing_resources(settings: ClusterSettings) -> str | None:
    """Resources that the run has to wait for, in a line; None where the cluster has them free."""
    import ray

    asked = {"CPU": settings.workers * ((settings.cpus_per_worker or 1) + settings.data_workers)}
    if settings.gpu:
        asked["GPU"] = settings.workers
    free, whole = ray.available_resources(), ray.cluster_resources()
    lacking = [
        f"{number} {kind} asked for, {free.get(kind, 0):g} of {whole.get(kind, 0):g} free"
        for kind, number in asked.items()
        if free.get(kind, 0) < number
    ]
    return f"waiting for the cluster: {'; '.join(lacking)}" if lacking else None
