"""Cache of a job's finished pieces in its folder: a resumed job does not compute them again."""

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
Problems = list[str]  # one line for each missing or invalid item of a piece


@dataclass(frozen=True)
class ResultCache:
    """Finished arrays by piece number, in one folder per job."""

    folder: Path
    digest: str  # of the job's inputs; jobs with other inputs use other files

    def path(self, number: int) -> Path:
        """Return the path of a piece's file."""
        return self.folder / self.digest / f"{number:07d}.safetensors"

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """Return a finished piece, or None if it is missing or damaged."""
        path = self.path(number)
        try:
            return {name: tensor.numpy() for name, tensor in parse_tensors(path.read_bytes(), str(path)).items()}
        except FileNotFoundError:
            return None
        except (CheckpointError, OSError) as error:
            logger.warning("%s; it is computed again", error)
            return None

    def save(self, number: int, arrays: Arrays) -> None:
        """Store a finished piece.

        Args:
            number: number of the piece.
            arrays: result of the piece, by name.

        Raises:
            StorageError: the disk cannot be written.
        """
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
    """Return all pieces of a job; only those that are not cached are computed.

    Args:
        job: its pieces are (arrays, problems). A piece with problems is not cached: it is computed again by the next
            run.
        count: number of pieces.
        cache: cache of the finished pieces.
        settings: Ray tasks; None: this process computes the pieces one after the other.
        should_stop: polled between pieces.
        progress: called with the number of pieces that are available.

    Returns:
        Arrays by number of the piece, and the problems of the pieces computed now, in the order of their numbers.

    Raises:
        StorageError: the disk cannot be written.
        ClusterError: the tasks failed too often.
        Interrupted: `should_stop` returned True.
        FocusRayError: the error of a piece.
    """
    kept = {number: cache.load(number) for number in range(count)}
    found: dict[int, Arrays] = {number: arrays for number, arrays in kept.items() if arrays is not None}
    problems: dict[int, Problems] = {}
    missing = [number for number in range(count) if number not in found]
    for number, (arrays, piece_problems) in run_tasks(job, missing, settings, should_stop):
        found[number], problems[number] = arrays, piece_problems
        if not piece_problems:
            cache.save(number, arrays)
        progress(len(found))
    return found, flatten_in_order(problems)


def digest(*described: Any) -> str:
    """Return the first 16 hex digits of the sha256 of a job's inputs as JSON.

    Args:
        described: inputs; values that JSON does not support are converted by str().
    """
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]
