"""Computes shards by a bounded pool of Ray tasks with retries, and merges them in a tree.

A task's state is sent from its node to the task that merges its branch. The driver receives one state per branch, in
order, and holds only a few of them for any number of faces.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from focus_ray.errors import Interrupted
from focus_ray.focus.misfit import MisfitStats
from focus_ray.numerics.statistics import merge_tree
from focus_ray.priors.measure import MeasurementSpec, Measurer
from focus_ray.priors.shards import ShardStore
from focus_ray.runtime.tasks import POLL_SECONDS, PoolSettings, load_once, one_thread, to_package_error

# Shards that a worker merges into one state. A power of two gives the same bits as one tree over all shards.
BRANCH_SIZE = 8
# Maximum number of merged branches that the driver has not read yet.
MAX_PENDING_BRANCHES = 4


@dataclass
class ShardCounts:
    """Number of computed shards, number of their faces, number of shards loaded from the store."""

    computed: int = 0
    faces: int = 0
    kept: int = 0

    def add(self, faces: int, computed: bool) -> None:
        """Count one more shard.

        Args:
            faces: number of its faces.
            computed: whether it was computed; otherwise it was loaded.
        """
        self.computed += computed
        self.faces += faces if computed else 0
        self.kept += not computed


CountProgress = Callable[[int, int], object]  # faces done, faces in all


def load_or_compute(measurer: Measurer, shards: ShardStore, number: int) -> tuple[MisfitStats, bool]:
    """Load the state of a shard, or compute and save it.

    Returns:
        (state, whether it was computed).
    """
    state = shards.load(number)
    if state is not None:
        return state, False
    state = measurer.measure_shard(shards.faces(number))
    shards.save(number, state)
    return state, True


def run_locally(
    spec: MeasurementSpec,
    shards: ShardStore,
    counts: ShardCounts,
    should_stop: Callable[[], bool],
    progress: CountProgress,
) -> Iterator[MisfitStats]:
    """Compute the branches in this process alone, to the same bits as `ShardPool`.

    Args:
        spec: inputs of the shards.
        shards: store of the finished shards.
        counts: counts of shards, updated in place.
        should_stop: polled before each shard.
        progress: called with (faces done, faces in all).

    Yields:
        The merged state of each branch, in order.

    Raises:
        Interrupted: `should_stop` returned true.
    """
    measurer = Measurer(spec)
    for numbers in shards.branches(BRANCH_SIZE):
        states = []
        for number in numbers:
            if should_stop():
                raise interrupted_error(shards)
            with one_thread():
                state, computed = load_or_compute(measurer, shards, number)
            counts.add(len(shards.faces(number)), computed)
            progress(shards.faces(number).stop, shards.n)
            states.append(state)
        yield merge_tree(states)


class ShardPool:
    """Computes the branches by Ray tasks on the connected cluster."""

    def __init__(self, spec: MeasurementSpec, shards: ShardStore, settings: PoolSettings):
        resources = {"num_cpus": 1, "num_gpus": settings.gpu_share, "max_retries": settings.max_retries}
        self._shard_task = ray.remote(_leaf).options(num_returns=2, **resources)
        self._merge_task = ray.remote(_join).options(num_cpus=0, max_retries=settings.max_retries)
        self._spec_ref = ray.put((spec, shards))
        self._shards = shards
        self._tasks = settings.tasks
        self._running: list[ray.ObjectRef[Any]] = []
        self._faces = 0

    def branches(
        self, counts: ShardCounts, should_stop: Callable[[], bool], progress: CountProgress
    ) -> Iterator[MisfitStats]:
        """Compute the branches by Ray tasks.

        Args:
            counts: counts of shards, updated in place.
            should_stop: polled while tasks run.
            progress: called with (faces done, faces in all).

        Yields:
            The merged state of each branch, in order.

        Raises:
            FocusRayError: the error that a task raised.
            ClusterError: the cluster gave up.
            Interrupted: `should_stop` returned true.
        """
        self._counts, self._should_stop, self._progress = counts, should_stop, progress
        merged: deque[ray.ObjectRef[Any]] = deque()
        try:
            for numbers in self._shards.branches(BRANCH_SIZE):
                states = [self._submit(number) for number in numbers]
                merged.append(self._merge_task.remote(*states))
                while len(merged) > MAX_PENDING_BRANCHES:
                    yield self._wait_for(merged.popleft())
            while merged:
                yield self._wait_for(merged.popleft())
        except RayError as error:
            raise to_package_error(error, "prior") from error
        finally:
            for task in self._running:
                ray.cancel(task, force=True)

    def _submit(self, number: int) -> "ray.ObjectRef[Any]":
        """Submit a shard as soon as fewer than the maximum number of tasks run."""
        while len(self._running) >= self._tasks:
            self._poll()
        references: Any = self._shard_task.remote([self._spec_ref], number)  # one reference for each value
        state, computed = references
        self._running.append(computed)
        return state

    def _wait_for(self, merged: "ray.ObjectRef[Any]") -> MisfitStats:
        while not ray.wait([merged], timeout=0)[0] and self._running:
            self._poll()
        return ray.get(merged)

    def _poll(self) -> None:
        """Wait at most POLL_SECONDS for a shard to end, and count the shards that ended."""
        if self._should_stop():
            raise interrupted_error(self._shards)
        ended, self._running = ray.wait(self._running, timeout=POLL_SECONDS)
        for number, computed in ray.get(ended):
            faces = len(self._shards.faces(number))
            self._counts.add(faces, computed)
            self._faces += faces
            self._progress(self._faces, self._shards.n)


def interrupted_error(shards: ShardStore) -> Interrupted:
    """Return the error of a build that the user stopped."""
    return Interrupted(f"stopped; finished shards are kept in {shards.store}, run the same command to resume")


def _leaf(spec: "list[ray.ObjectRef[Any]]", number: int) -> tuple[MisfitStats, tuple[int, bool]]:
    """Ray task: compute one shard. The list keeps Ray from resolving the reference; each process does so once."""
    measurer, shards = load_once(spec[0], _prepare)
    state, computed = load_or_compute(measurer, shards, number)
    return state, (number, computed)


def _join(*states: MisfitStats) -> MisfitStats:
    """Ray task: merge the shards of one branch."""
    return merge_tree(states)


def _prepare(spec: tuple[MeasurementSpec, ShardStore], device: str) -> tuple[Measurer, ShardStore]:
    """Create the measurer of a worker process on its device."""
    what, shards = spec
    return Measurer(what, device), shards
