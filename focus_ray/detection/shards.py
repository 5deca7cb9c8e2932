"""Store of the finished pictures of a detection: an interrupted one does not detect them again."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa

from focus_ray.data.detect_landmarks import RETRIED, PictureFaces
from focus_ray.data.face_table import decode_name, decode_table, encode_table, read_pictures
from focus_ray.errors import DataError
from focus_ray.storage.object_store import ObjectStore

SHARDS = ".detect"  # hidden: the folder may be that of the pictures
_CACHED_SHARDS = 8  # pictures of a shard are neighbours by name: a few shards in memory are enough to read in order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Result:
    """Shard with the result of a picture, and whether the next run accepts that result."""

    shard: str
    is_final: bool


@dataclass
class ShardStore:
    """Results of finished pictures in files of a store, each with the rows of some pictures.

    Args:
        store: the store.
        digest: of detector and settings; results of another digest are not used.
        versions: versions of all pictures, by name and in order; results of another version are not used.
    """

    store: ObjectStore
    digest: str
    versions: Mapping[str, str]
    _results: dict[str, _Result] = field(default_factory=dict)

    def scan(self) -> None:
        """Find the results of earlier runs; damaged shards are ignored.

        Raises:
            StorageError: the store cannot be read.
        """
        for key in self._keys():
            try:
                table = decode_table(self.store.read(key), f"{self.store}/{key}")
            except DataError as error:
                logger.warning("%s; its pictures are detected again", error)
                continue
            for name, version, result in _rows(key, table):
                if self.versions.get(name) == version and (result.is_final or name not in self._results):
                    self._results[name] = result

    def has_other_results(self) -> bool:
        """Return whether there are results of another digest."""
        return bool(self._other_keys())

    def unfinished(self) -> list[str]:
        """Return the pictures without a final result, in order."""
        finished = {name for name, result in self._results.items() if result.is_final}
        return [name for name in self.versions if name not in finished]

    def save(self, table: pa.Table) -> None:
        """Save a table of finished pictures as a shard.

        Raises:
            StorageError: the store cannot be written.
        """
        key = f"{SHARDS}/{self.digest}/{_digest_rows(table)}.parquet"
        self.store.write(key, encode_table(table))
        self._results |= {name: result for name, _, result in _rows(key, table)}

    def pictures(self) -> Iterator[PictureFaces]:
        """Yield the results of all pictures, which must be finished, in order.

        Raises:
            DataError: a shard was damaged after `scan`.
            StorageError: the store cannot be read.
        """
        load = lru_cache(_CACHED_SHARDS)(self._load)
        for name in self.versions:
            yield load(self._results[name].shard)[name]

    def remove_unused(self) -> None:
        """Delete the shards of other digests, and those whose results are not used.

        Raises:
            StorageError: the store refuses.
        """
        used = {result.shard for result in self._results.values()}
        self.store.delete([*self._other_keys(), *(key for key in self._keys() if key not in used)])

    def _keys(self) -> list[str]:
        return [entry.key for entry in self.store.list(f"{SHARDS}/{self.digest}")]

    def _other_keys(self) -> list[str]:
        own = f"{SHARDS}/{self.digest}/"
        return [entry.key for entry in self.store.list(SHARDS) if not entry.key.startswith(own)]

    def _load(self, key: str) -> dict[str, PictureFaces]:
        table = decode_table(self.store.read(key), f"{self.store}/{key}")
        return {picture.name: picture for picture in read_pictures(table)}


def _rows(key: str, table: pa.Table) -> Iterator[tuple[str, str, _Result]]:
    """Yield name, version and result of each picture of a shard."""
    columns = (table[column].to_pylist() for column in ("name", "version", "reason"))
    for name, version, reason in zip(*columns, strict=True):
        yield decode_name(name), version, _Result(key, reason not in RETRIED)


def _digest_rows(table: pa.Table) -> str:
    """Return a digest of names and versions: the same pictures have the same shard."""
    seen = hashlib.sha256()
    for name, version in zip(table["name"].to_pylist(), table["version"].to_pylist(), strict=True):
        seen.update(hashlib.sha256(name).digest() + hashlib.sha256(version.encode()).digest())
    return seen.hexdigest()[:32]
