"""Weight files are read with limits and compared by hash."""

from pathlib import Path

import pytest

from focus_ray.data.detectors import weight_files
from focus_ray.data.detectors.weight_files import MESH_HASHES, has_mesh_files, read_weights, sha256, verify_hashes
from focus_ray.errors import ConfigError


def test_a_file_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"weights")
    assert read_weights(tmp_path / "a") == b"weights"


def test_a_missing_file_and_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="a: the weight file is missing"):
        read_weights(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"12345")
    monkeypatch.setattr(weight_files, "_MAX_BYTES", 4)
    with pytest.raises(ConfigError, match="a: larger than"):
        read_weights(tmp_path / "a")


def test_files_that_are_missing_or_differ_are_named():
    expected = {"a": sha256(b"a"), "b": sha256(b"b")}
    verify_hashes(expected | {"c": ""}, expected, "here")
    with pytest.raises(ConfigError, match="here: b is missing"):
        verify_hashes({"a": expected["a"]}, expected, "here")
    with pytest.raises(ConfigError, match=r"here: the sha256 of b is ca978112ca1b\.\.\., not 3e23e8160039"):
        verify_hashes({"a": expected["a"], "b": expected["a"]}, expected, "here")


def test_a_folder_has_all_files_or_not(tmp_path: Path):
    for name in MESH_HASHES:
        assert not has_mesh_files(tmp_path)
        (tmp_path / name).touch()
    assert has_mesh_files(tmp_path)
