"""Photographs of a prepared store, with the interface of a folder of photographs."""

import hashlib
from collections.abc import Sequence
from typing import Any

from focus_ray.data import augment
from focus_ray.data.augment import AugmentSettings
from focus_ray.data.photos import FaceMemory, PhotoFace, Photographs, face_batch
from focus_ray.data.prepared.shard_cache import ShardCache
from focus_ray.data.prepared.shard_file import Record, decode_record
from focus_ray.data.prepared.store_files import read_description, read_index, shard_key
from focus_ray.data.sample import Batch
from focus_ray.errors import ConfigError, DataError
from focus_ray.storage.open_store import open_store


class PreparedPhotos(Photographs):
    """The faces of a prepared store; only the index is read when it is opened.

    Args:
        location: folder, or s3://bucket/prefix.
        image_size: side of the crops, px; at most that of the store.
        settings: ranges of the augmentation.
        memory_mb: memory for decoded faces, MB.
        disk_mb: local disk for the shards of an object store, MB.

    Raises:
        ConfigError: the store has smaller crops.
        DataError: the store is damaged or empty.
        StorageError: the store does not answer.
    """

    def __init__(
        self,
        location: str,
        image_size: int = 224,
        settings: AugmentSettings = augment.DEFAULT,
        memory_mb: float = 1000.0,
        disk_mb: float = 20_000.0,
    ) -> None:
        self.store = open_store(location)
        self.described = read_description(self.store)
        self.rows = read_index(self.store, self.described)
        self.image_size = image_size
        self.settings = settings
        if image_size > self.described.size:
            raise ConfigError(
                f"{self.store} has crops of {self.described.size} px and the run needs {image_size} px; prepare the "
                f"set again with size {image_size}"
            )
        if not self.rows:
            raise DataError(f"{self.store} has no faces; see {self.store}/dropped.csv")
        self.names = [row.name for row in self.rows]
        self.portraits = self.described.portraits
        self.shards = ShardCache(self.store, self.described.shards, disk_mb)
        self._memory = FaceMemory(memory_mb)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the index and of all shards."""
        seen = hashlib.sha256(self.described.index_sha256.encode())
        for one in self.described.shards:
            seen.update(one.sha256.encode())
        return seen.hexdigest()

    @property
    def left_out(self) -> str | None:
        """Message on how many pictures of the set were prepared and why the others were not; None if all were."""
        if not self.described.dropped:
            return None
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.described.dropped.items())
        return f"{self.described.records} of {self.described.pictures} pictures are in {self.store}: {reasons}"

    @property
    def read_again(self) -> str | None:
        """None: faces are decoded again in each pass, from the local disk."""
        return None

    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """Return the faces with these numbers, as `PhotoFolder.batch` does.

        Args:
            indices: numbers of the records, taken modulo their count.
            seed: seed of the augmentation; None means no augmentation.
            epoch: pass over the records.
        """
        chosen = [index % len(self) for index in indices]
        return face_batch(
            [self.face(index) for index in chosen],
            chosen,
            [self.names[index] for index in chosen],
            self.settings,
            seed,
            epoch,
        )

    def face(self, index: int) -> PhotoFace:
        """Return a face with its surroundings and a crop of `image_size`."""
        known = self._memory.get(self.names[index])
        if known is None:
            stored = self.record(index).face
            known = PhotoFace(stored.image, stored.landmarks, stored.crop.resized(self.image_size))
            self._memory.keep(self.names[index], known)
        return known

    def record(self, index: int) -> Record:
        """Read a record from its shard.

        Raises:
            DataError: the record or its shard is damaged.
            StorageError: the store does not answer.
        """
        row = self.rows[index]
        content = self.shards.read(row.shard, row.offset, row.size)
        return decode_record(content, f"{self.store}/{shard_key(row.shard)}, row {row.row}")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_memory": FaceMemory(self._memory.megabytes)}
