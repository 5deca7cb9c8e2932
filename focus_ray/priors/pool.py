"""Shards worked off by a pool of Ray tasks: bounded, retried, and merged in a tree on the way.

A task's state goes from its node to the task that merges its branch; the driver sees one state a branch, in order, and
holds a handful of them, however many faces there are.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from focus_ray.errors import ClusterError, FocusRayError, Interrupted
from focus_ray.focus.misfit import Misfit
from focus_ray.focus.statistics import merge_tree
from focus_ray.priors.measure import Measurer, Work
from focus_ray.priors.shards import Shards

# Shards merged on the workers before the driver sees them. A power of two: then the bits are those of one tree.
BRANCH = 8
# Merged branches that wait for the driver, at most.
AHEAD = 4
SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class PoolSettings:
    """How many tasks run at a time, and with what. None of it changes a bit of the result."""

    tasks: int = 2
    gpu_share: float = 0.0  # of a GPU, for each task
    max_retries: int = 20  # of one shard, where its worker dies


@dataclass
class Tally:
    """How many shards were computed, with how many faces, and how many were there already."""

    computed: int = 0
    faces: int = 0
    kept: int = 0

    def add(self, faces: int, computed: bool) -> None:
        """One more shard, of so many faces."""
        self.computed += computed
        self.faces += faces if computed else 0
        self.kept += not computed


Progress = Callable[[int, int], object]  # faces done, faces in all


def done(measurer: Measurer, shards: Shards, number: int) -> tuple[Misfit, bool]:
    """The state of a shard, and whether it had to be computed."""
    state = shards.load(number)
    if state is not None:
        return state, False
    state = measurer.shard(shards.faces(number))
    shards.save(number, state)
    return state, True


def here(work: Work, shards: Shards, tally: Tally, asked: Callable[[], bool], progress: Progress) -> Iterator[Misfit]:
    """The merged states of the branches in order, computed by this process alone, to the same bits."""
    measurer = Measurer(work)
    for numbers in shards.branches(BRANCH):
        states = []
        for number in numbers:
            if asked():
                raise interrupted(shards)
            with one_thread():
                state, computed = done(measurer, shards, number)
            tally.add(len(shards.faces(number)), computed)
            progress(shards.faces(number).stop, shards.n)
            states.append(state)
        yield merge_tree(states)


@contextmanager
def one_thread() -> Iterator[None]:
    """Other numbers of threads round otherwise; whoever calls has its own back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Pool:
    """The same by Ray tasks, on the cluster that is connected."""

    def __init__(self, work: Work, shards: Shards, settings: PoolSettings):
        resources = {"num_cpus": 1, "num_gpus": settings.gpu_share, "max_retries": settings.max_retries}
        self._leaf = ray.remote(_leaf).options(num_returns=2, **resources)
        self._join = ray.remote(_join).options(num_cpus=0, max_retries=settings.max_retries)
        self._work = ray.put((work, shards))
        self._shards = shards
        self._tasks = settings.tasks
        self._running: list[ray.ObjectRef[Any]] = []
        self._faces = 0

    def branches(self, tally: Tally, asked: Callable[[], bool], progress: Progress) -> Iterator[Misfit]:
        """The merged states of the branches in order. Raises what a task raises, ClusterError, Interrupted."""
        self._tally, self._asked, self._progress = tally, asked, progress
        merged: deque[ray.ObjectRef[Any]] = deque()
        try:
            for numbers in self._shards.branches(BRANCH):
                states = [self._submit(number) for number in numbers]
                merged.append(self._join.remote(*states))
                while len(merged) > AHEAD:
                    yield self._taken(merged.popleft())
            while merged:
                yield self._taken(merged.popleft())
        except RayError as error:
            raise explained(error) from error
        finally:
            for task in self._running:
                ray.cancel(task, force=True)

    def _submit(self, number: int) -> "ray.ObjectRef[Any]":
        """Begin a shard as soon as there is room for it."""
        while len(self._running) >= self._tasks:
            self._look()
        references: Any = self._leaf.remote([self._work], number)  # one for each thing it returns
        state, computed = references
        self._running.append(computed)
        return state

    def _taken(self, merged: "ray.ObjectRef[Any]") -> Misfit:
        while not ray.wait([merged], timeout=0)[0] and self._running:
            self._look()
        return ray.get(merged)

    def _look(self) -> None:
        """Wait a moment for a shard to end."""
        if self._asked():
            raise interrupted(self._shards)
        ended, self._running = ray.wait(self._running, timeout=SECONDS_BETWEEN_LOOKS)
        for number, computed in ray.get(ended):
            faces = len(self._shards.faces(number))
            self._tally.add(faces, computed)
            self._faces += faces
            self._progress(self._faces, self._shards.n)


def interrupted(shards: Shards) -> Interrupted:
    """What to say where somebody asked to stop."""
    return Interrupted(f"stopped; finished shards are kept in {shards.store}, the same command goes on")


def explained(error: RayError) -> FocusRayError:
    """The error of the package that a task raised, or that the cluster gave up."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, FocusRayError):
        return error.cause
    reason = " ".join(str(error).split())[:300]
    return ClusterError(f"the tasks of the prior ended ({reason}); the same command goes on")


def _leaf(work: "list[ray.ObjectRef[Any]]", number: int) -> tuple[Misfit, tuple[int, bool]]:
    """A task: one shard. Work comes as a reference, which only a process that has not seen it follows."""
    measurer, shards = _ready(work[0])
    state, computed = done(measurer, shards, number)
    return state, (number, computed)


def _join(*states: Misfit) -> Misfit:
    """A task: one branch."""
    return merge_tree(states)


_seen: dict[str, tuple[Measurer, Shards]] = {}  # by this process, by the reference to it: one at a time


def _ready(work: "ray.ObjectRef[Any]") -> tuple[Measurer, Shards]:
    """What a reference stands for, ready to be used by this process."""
    name = work.hex()
    if name not in _seen:
        torch.set_num_threads(1)  # one core a task, and the same bits everywhere
        _seen.clear()
        what, shards = ray.get(work)
        _seen[name] = Measurer(what, "cuda" if ray.get_gpu_ids() else "cpu"), shards
    return _seen[name]
