"""Shards of a bucket on the local disk."""

import copy
import threading

import pytest

from focus_ray.data.prepared.shard_cache import ShardCache
from focus_ray.data.prepared.store_files import ShardDigest, shard_key
from focus_ray.errors import DataError, StorageError
from focus_ray.storage.object_store import LocalStore, ObjectStore


class Bucket(ObjectStore):
    """A store that is no folder of this machine, and counts what is fetched."""

    def __init__(self, root):
        self.inner, self.fetched = LocalStore(root), []

    def __str__(self):
        return "s3://bucket"

    def download(self, key, path):
        self.fetched.append(key)
        self.inner.download(key, path)


def filled(root) -> tuple[Bucket, list[ShardDigest]]:
    import hashlib

    bucket, shards = Bucket(root), []
    for number in range(4):
        content = bytes([number]) * 1000
        bucket.inner.write(shard_key(number), content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append(ShardDigest(shard=number, records=1, bytes=1000, sha256=digest))
    return bucket, shards


def test_shards_are_fetched_once_and_others_find_them(tmp_path):
    bucket, shards = filled(tmp_path / "bucket")
    cache = ShardCache(bucket, shards, 1.0, tmp_path / "cache")
    cache.prefetch([2, 0])
    assert cache.read(2, 10, 3) == b"\2\2\2"
    assert cache.read(0, 0, 2) == b"\0\0"
    assert sorted(bucket.fetched) == [shard_key(0), shard_key(2)]
    assert ShardCache(bucket, shards, 1.0, tmp_path / "cache").read(2, 0, 1) == b"\2"
    assert len(bucket.fetched) == 2


def test_the_disk_is_bounded_and_what_was_deleted_is_fetched_again(tmp_path):
    bucket, shards = filled(tmp_path / "bucket")
    cache = ShardCache(bucket, shards, 0.0025, tmp_path / "cache")
    for number in (0, 1, 2, 3, 0, 3):
        assert cache.read(number, 0, 1) == bytes([number])
        assert len(list((tmp_path / "cache").glob("*.tar"))) <= 2
    assert [key[-5] for key in bucket.fetched] == list("01230")


def test_a_changed_shard_is_refused(tmp_path):
    bucket, shards = filled(tmp_path / "bucket")
    bucket.inner.write(shard_key(1), b"\7" * 1000)
    cache = ShardCache(bucket, shards, 1.0, tmp_path / "cache")
    local = ShardCache(bucket.inner, shards, 1.0)
    for one in (cache, local):
        with pytest.raises(DataError, match="another content than its hash says"):
            one.read(1, 0, 1)
    bucket.inner.write(shard_key(1), b"\1" * 1000)
    assert cache.read(1, 0, 1) == b"\1", "an error is not kept"


def test_a_copy_as_in_another_process_serves_several_threads(tmp_path):
    _, shards = filled(tmp_path / "bucket")
    cache = copy.deepcopy(ShardCache(LocalStore(tmp_path / "bucket"), shards, 1.0))
    seen = []
    threads = [
        threading.Thread(target=lambda number=number: seen.append(cache.read(number, 0, 1))) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [b"\0", b"\1", b"\2", b"\3"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    bucket, shards = filled(tmp_path / "bucket")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="set FOCUS_RAY_CACHE to a folder"):
        ShardCache(bucket, shards, 1.0, tmp_path / "file" / "cache").read(0, 0, 1)


def test_few_shards_are_on_their_way_at_once(tmp_path):
    """A process that ends waits for them."""
    bucket, shards = filled(tmp_path / "bucket")
    go, started = threading.Event(), []

    def download(key, path):
        started.append(key)
        go.wait(10)
        bucket.inner.download(key, path)

    bucket.download = download
    cache = ShardCache(bucket, shards, 1.0, tmp_path / "cache")
    cache.prefetch([0, 1, 2, 3])
    assert len(cache._pending) == 2
    go.set()
    assert [cache.read(number, 0, 1) for number in range(4)] == [bytes([number]) for number in range(4)]
    assert started[:2] == [shard_key(0), shard_key(1)] or started[:2] == [shard_key(1), shard_key(0)]
