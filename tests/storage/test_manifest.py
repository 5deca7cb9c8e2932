"""A sealed folder takes the place of another of its kind, and of nothing else."""

import hashlib
import tracemalloc

import pytest

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.storage.manifest import digest_of, refuse_to_replace, verify_sealed, write_sealed


def test_nothing_an_empty_folder_and_one_of_the_same_kind_may_be_replaced(tmp_path):
    refuse_to_replace(tmp_path / "absent", "model")
    (tmp_path / "empty").mkdir()
    refuse_to_replace(tmp_path / "empty", "model")
    write_sealed(tmp_path / "model", "model", [("a.bin", b"a")])
    refuse_to_replace(tmp_path / "model", "model")


def test_a_large_folder_is_verified_a_piece_at_a_time(tmp_path):
    write_sealed(tmp_path / "model", "model", [("a.bin", bytes(32 << 20))])
    tracemalloc.start()
    try:
        verify_sealed(tmp_path / "model", "model")
        digest = digest_of(tmp_path / "model" / "a.bin")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20
    assert digest == hashlib.sha256(bytes(32 << 20)).hexdigest()
    with (tmp_path / "model" / "a.bin").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="altered"):
        verify_sealed(tmp_path / "model", "model")


def test_anything_else_is_kept(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; "):
        refuse_to_replace(tmp_path / "file", "model")
    with pytest.raises(ConfigError, match="holds other things than a model; "):
        refuse_to_replace(tmp_path, "model")
    write_sealed(tmp_path / "checkpoint", "checkpoint", [("a.bin", b"a")])
    with pytest.raises(ConfigError, match="holds other things"):
        refuse_to_replace(tmp_path / "checkpoint", "model")
    write_sealed(tmp_path / "model", "model", [("a.bin", b"a")])
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other things"):
        refuse_to_replace(tmp_path / "model", "model")
