"""Prepared photographs give the batches of their folder, from a disk and from a bucket."""

import shutil

import numpy as np
import pytest
import torch

from focus_ray.data.photos import PhotoFolder
from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.errors import ConfigError, DataError
from tests.data.dataset_writers.sets import uploaded
from tests.data.prepared.stores import SIZE, photographs, prepared


@pytest.fixture(scope="module")
def folder(ar, tmp_path_factory):
    return photographs(ar, tmp_path_factory.mktemp("folder") / "photos")


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("store")
    prepared("folder", folder, place)
    return place


@pytest.mark.parametrize("seed", [None, 5])
def test_the_bits_are_those_of_the_folder(folder, store, seed):
    given, stored = PhotoFolder(folder, image_size=SIZE), PreparedPhotos(str(store), SIZE)
    assert stored.names == given.names
    numbers = [3, 0, 3, 10]
    one, other = stored.batch(numbers, seed, 2), given.batch(numbers, seed, 2)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.landmarks, other.landmarks)
    assert one.names == other.names


def test_smaller_crops_show_the_same_face_and_larger_ones_are_refused(store):
    large, small = PreparedPhotos(str(store), SIZE).batch([1]), PreparedPhotos(str(store), SIZE // 2).batch([1])
    assert small.images.shape[-1] == SIZE // 2
    np.testing.assert_allclose(small.landmarks, (large.landmarks + 0.5) / 2 - 0.5, atol=1e-4)
    with pytest.raises(ConfigError, match="needs 64 px; prepare the set again with size 64"):
        PreparedPhotos(str(store), 64)


def test_a_bucket_gives_the_same(store, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUS_RAY_CACHE", str(tmp_path))
    uploaded(store, f"{bucket}/faces")
    local, remote = PreparedPhotos(str(store), SIZE), PreparedPhotos(f"{bucket}/faces", SIZE)
    assert torch.equal(local.batch(range(8), 3, 1).images, remote.batch(range(8), 3, 1).images)
    assert local.digest == remote.digest
    assert len(list((tmp_path / "shards").iterdir())) == len(local.described.shards)


def test_a_damaged_shard_is_noticed(store, tmp_path):
    place = shutil.copytree(store, tmp_path / "copy")
    shard = place / "shards/00000.tar"
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match="another content than its hash"):
        PreparedPhotos(str(place), SIZE).batch([0])
