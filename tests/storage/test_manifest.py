"""A sealed folder takes the place of another of its kind, and of nothing else."""

import hashlib
import tracemalloc

import pytest

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.storage.manifest import check_replaceable, file_digest, verify_artifact, write_artifact


def test_nothing_an_empty_folder_and_one_of_the_same_kind_may_be_replaced(tmp_path):
    check_replaceable(tmp_path / "absent", "model")
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty", "model")
    write_artifact(tmp_path / "model", "model", [("a.bin", b"a")])
    check_replaceable(tmp_path / "model", "model")


def test_a_large_folder_is_verified_a_piece_at_a_time(tmp_path):
    write_artifact(tmp_path / "model", "model", [("a.bin", bytes(32 << 20))])
    tracemalloc.start()
    try:
        verify_artifact(tmp_path / "model", "model")
        digest = file_digest(tmp_path / "model" / "a.bin")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20
    assert digest == hashlib.sha256(bytes(32 << 20)).hexdigest()
    with (tmp_path / "model" / "a.bin").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="altered"):
        verify_artifact(tmp_path / "model", "model")


def test_anything_else_is_kept(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; "):
        check_replaceable(tmp_path / "file", "model")
    with pytest.raises(ConfigError, match="holds other things than a model; "):
        check_replaceable(tmp_path, "model")
    write_artifact(tmp_path / "checkpoint", "checkpoint", [("a.bin", b"a")])
    with pytest.raises(ConfigError, match="holds other things"):
        check_replaceable(tmp_path / "checkpoint", "model")
    write_artifact(tmp_path / "model", "model", [("a.bin", b"a")])
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other things"):
        check_replaceable(tmp_path / "model", "model")
