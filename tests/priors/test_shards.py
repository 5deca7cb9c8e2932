"""Shards: which faces they hold, and how their states are kept."""

import pytest
import torch

from focus_ray.focus.misfit import MisfitStats
from focus_ray.priors.shards import ShardStore, decode_state, encode_state
from focus_ray.storage.object_store import LocalStore


@pytest.fixture
def state() -> MisfitStats:
    return MisfitStats.from_errors(
        torch.randn(5, 4, 7, 3, dtype=torch.float64), {"face": torch.ones(7, dtype=torch.bool)}
    )


def test_every_face_is_in_one_shard(tmp_path):
    shards = ShardStore(LocalStore(tmp_path), "digest", n=23, size=5)
    assert [number for shard in range(len(shards)) for number in shards.faces(shard)] == list(range(23))
    assert [list(branch) for branch in shards.branches(2)] == [[0, 1], [2, 3], [4]]


def test_a_state_comes_back_in_every_bit(tmp_path, state):
    shards = ShardStore(LocalStore(tmp_path), "digest", n=5, size=5)
    assert shards.load(0) is None
    shards.save(0, state)
    again = shards.load(0)
    assert again is not None
    for name, moments in vars(state).items():
        assert torch.equal(getattr(again, name).mean, moments.mean)
        assert torch.equal(getattr(again, name).deviations, moments.deviations)
    assert again.count == 5


@pytest.mark.parametrize("damage", [b"", b"x" * 10, "cut", "flipped"], ids=["empty", "short", "cut", "flipped"])
def test_a_damaged_state_counts_as_not_there(tmp_path, state, damage, caplog):
    shards = ShardStore(LocalStore(tmp_path), "digest", n=5, size=5)
    content = bytearray(encode_state(state))
    if damage == "flipped":
        content[-3] ^= 1
    elif damage == "cut":
        content = content[:-8]
    else:
        content = damage
    shards.store.write(shards.key(0), bytes(content))
    assert shards.load(0) is None
    assert "the shard is computed again" in caplog.text


def test_a_state_of_another_number_of_faces_is_not_taken(tmp_path, state):
    """The last shard of another N begins with the same face."""
    of_five, of_three = (ShardStore(LocalStore(tmp_path), "digest", n=n, size=5) for n in (5, 3))
    of_five.save(0, state)
    assert of_three.load(0) is None
    of_three.store.write(of_three.key(0), encode_state(state))
    assert of_three.load(0) is None


def test_what_is_kept_is_read_without_pickle(state):
    assert decode_state(encode_state(state), "state").count == 5
    assert b"pickle" not in encode_state(state)
