"""Finished pieces of a job in its folder: an interrupted job does not compute them again."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from focus_ray.errors import CheckpointError
from focus_ray.runtime.task_pool import Job, flatten_in_order, run_tasks
from focus_ray.runtime.tasks import PoolSettings
from focus_ray.storage import atomic
from focus_ray.storage.tensor_artifact import parse_tensors

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
Problems = list[str]  # a line for each thing that is missing or wrong in a piece


@dataclass(frozen=True)
class ResultCache:
    """Finished arrays by piece number, in one folder per job."""

    folder: Path
    digest: str  # of the work: another one has other pieces

    def path(self, number: int) -> Path:
        """Path of a piece."""
        return self.folder / self.digest / f"{number:07d}.safetensors"

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """A finished piece, or None. One that is damaged counts as not there."""
        path = self.path(number)
        try:
            return {name: tensor.numpy() for name, tensor in parse_tensors(path.read_bytes(), str(path)).items()}
        except FileNotFoundError:
            return None
        except (CheckpointError, OSError) as error:
            logger.warning("%s; it is computed again", error)
            return None

    def save(self, number: int, arrays: Arrays) -> None:
        """Keep a finished piece. Raises StorageError."""
        owned = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        atomic.write_file(self.path(number), safetensors.numpy.save(owned))


def resume_or_run(
    job: Job,
    count: int,
    cache: ResultCache,
    settings: PoolSettings | None,
    should_stop: Callable[[], bool],
    progress: Callable[[int], object],
) -> tuple[dict[int, Arrays], list[str]]:
    """Arrays of all `count` pieces of a job, cached ones not computed again; and a list of problems.

    Pieces of the job are (arrays, what is wrong). Where something is, the piece is looked at again the next time.
    `progress` is told how many pieces are known. Raises what a piece raises, StorageError, ClusterError, Interrupted.
    """
    kept = {number: cache.load(number) for number in range(count)}
    found: dict[int, Arrays] = {number: arrays for number, arrays in kept.items() if arrays is not None}
    problems: dict[int, Problems] = {}
    missing = [number for number in range(count) if number not in found]
    for number, (arrays, told) in run_tasks(job, missing, settings, should_stop):
        found[number], problems[number] = arrays, told
        if not told:
            cache.save(number, arrays)
        progress(len(found))
    return found, flatten_in_order(problems)


def digest(*described: Any) -> str:
    """The first 16 hex digits of a sha256 over what decides a piece of work, as JSON."""
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]
