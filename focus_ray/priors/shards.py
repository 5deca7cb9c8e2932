"""Store of finished shards: an interrupted build does not compute them again."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import safetensors.torch
import torch

from focus_ray.errors import CheckpointError, NoSuchObject
from focus_ray.focus.misfit import MisfitStats
from focus_ray.numerics.statistics import Moments
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.tensor_artifact import parse_tensors

logger = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class ShardStore:
    """N faces in shards of a fixed size, the last one smaller, and the store of the finished states."""

    store: ObjectStore
    digest: str  # of the MeasurementSpec
    n: int
    size: int

    def __len__(self) -> int:
        return (self.n + self.size - 1) // self.size

    def faces(self, number: int) -> range:
        """Return the numbers of a shard's faces."""
        return range(number * self.size, min((number + 1) * self.size, self.n))

    def branches(self, size: int) -> Iterator[range]:
        """Yield the numbers of all shards in order, `size` neighbours at a time."""
        for start in range(0, len(self), size):
            yield range(start, min(start + size, len(self)))

    def key(self, number: int) -> str:
        """Return the store key of a shard, by its first and last face: the last shard of another N has another key."""
        faces = self.faces(number)
        return f"shards/{self.digest}/{faces.start:010d}-{faces.stop:010d}"

    def load(self, number: int) -> MisfitStats | None:
        """Load the state of a finished shard.

        Returns:
            The state; None if it is missing, damaged or of another number of faces.

        Raises:
            StorageError: the store refuses.
        """
        key = self.key(number)
        try:
            content = self.store.read(key)
        except NoSuchObject:
            return None
        try:
            state = decode_state(content, f"{self.store}/{key}")
            if state.count != len(self.faces(number)):
                raise CheckpointError(f"{self.store}/{key} has another number of faces: {state.count}")
        except CheckpointError as error:
            logger.warning("%s; the shard is computed again", error)
            return None
        return state

    def save(self, number: int, state: MisfitStats) -> None:
        """Save the state of a finished shard.

        Raises:
            StorageError: the store refuses.
        """
        self.store.write(self.key(number), encode_state(state))


def encode_state(state: MisfitStats) -> bytes:
    """Encode a state as the sha256 of a safetensors file, followed by that file."""
    tensors = {}
    for name, moments in vars(state).items():
        tensors[f"{name}.mean"], tensors[f"{name}.deviations"] = moments.mean, moments.deviations
    tensors["count"] = torch.tensor(state.count)
    content = safetensors.torch.save(tensors)
    return hashlib.sha256(content).digest() + content


def decode_state(content: bytes, name: str) -> MisfitStats:
    """Decode the bytes of `encode_state`.

    Args:
        content: encoded state.
        name: where it is stored, for error messages.

    Raises:
        CheckpointError: the content is damaged or of another version.
    """
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{name} is damaged")
    tensors = parse_tensors(content, name)
    try:
        count = int(tensors.pop("count"))
        return MisfitStats(
            **{
                part: Moments(count, tensors[f"{part}.mean"], tensors[f"{part}.deviations"])
                for part in ("error", "distance", "improved")
            }
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{name} is not a state of this version ({error})") from None
