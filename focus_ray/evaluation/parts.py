"""Finished pieces of an evaluation in its folder: what an interrupted one need not compute again."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from focus_ray.errors import CheckpointError
from focus_ray.storage import atomic
from focus_ray.storage.documents import tensors_of

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Parts:
    """Arrays by the number of a piece, in a folder of their own for each piece of work."""

    folder: Path
    digest: str  # of the work: another one has other pieces

    def path(self, number: int) -> Path:
        """Where a piece lies."""
        return self.folder / self.digest / f"{number:07d}.safetensors"

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """A finished piece, or None. One that is damaged counts as not there."""
        path = self.path(number)
        try:
            return {name: tensor.numpy() for name, tensor in tensors_of(path.read_bytes(), str(path)).items()}
        except FileNotFoundError:
            return None
        except (CheckpointError, OSError) as error:
            logger.warning("%s; it is computed again", error)
            return None

    def save(self, number: int, arrays: Arrays) -> None:
        """Keep a finished piece. Raises StorageError."""
        owned = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        atomic.write_file(self.path(number), safetensors.numpy.save(owned))


def digest(*described: Any) -> str:
    """The first 16 hex digits of a sha256 over what decides a piece of work, as JSON."""
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]
