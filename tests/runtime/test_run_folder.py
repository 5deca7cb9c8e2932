"""A run folder holds one training at a time."""

import re
import subprocess
from datetime import datetime

import pytest

from focus_ray import presets
from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.runtime.run_folder import RunFolder, RunInfo

INFO = RunInfo(name="run")


def test_nobody_else_trains_in_the_folder_until_it_is_closed(tmp_path, ellipsoid_face):
    mine, theirs = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    mine.create(presets.load("embedded"), ellipsoid_face, INFO)
    config, face = theirs.open()  # looking is free
    assert config.preset == "embedded"
    assert face.digest == ellipsoid_face.digest
    with pytest.raises(ConfigError, match="another process is training"):
        theirs.lock()
    mine.close()
    theirs.lock()
    theirs.close()


def test_a_lock_left_behind_by_a_killed_process_does_not_make_the_folder_full(tmp_path, ellipsoid_face):
    (tmp_path / ".lock").touch()
    folder = RunFolder(tmp_path)
    folder.create(presets.load("embedded"), ellipsoid_face, INFO)
    folder.close()


def test_a_run_that_was_killed_at_its_start_is_begun_anew(tmp_path, ellipsoid_face):
    folder = RunFolder(tmp_path)
    folder.create(presets.load("embedded"), ellipsoid_face, INFO)
    folder.close()
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder(tmp_path).create(presets.load("embedded"), ellipsoid_face, INFO)
    folder.config_file.unlink()
    (tmp_path / ".config.json.partial-1").touch()
    again = RunFolder(tmp_path)
    again.create(presets.load("embedded"), ellipsoid_face, INFO.model_copy(update={"name": "again"}))
    again.close()
    assert again.info().name == "again"


def test_pictures_are_no_beginning(tmp_path, ellipsoid_face):
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "step-1.png").touch()
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder(tmp_path).create(presets.load("embedded"), ellipsoid_face, INFO)


def test_a_folder_with_files_is_left_alone(tmp_path, ellipsoid_face):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder(tmp_path).create(presets.load("embedded"), ellipsoid_face, INFO)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_disk_that_is_full_leaves_nothing_and_the_same_command_works_later(tmp_path, python, python_environment):
    code = f"""
import pathlib, resource
from focus_ray import presets
from focus_ray.errors import StorageError
from tests.ellipsoid_face import ellipsoid_face
from focus_ray.runtime.run_folder import RunFolder, RunInfo
path = pathlib.Path({str(tmp_path / "run")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
folder = RunFolder(path)
try:
    folder.create(presets.load("embedded"), ellipsoid_face(), RunInfo(name="run"))
except StorageError as error:
    print(error, path.exists())
folder.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
RunFolder(path).create(presets.load("embedded"), ellipsoid_face(), RunInfo(name="run"))
"""
    result = subprocess.run([python, "-c", code], env=python_environment, capture_output=True, text=True, timeout=180)
    assert result.returncode == 0, result.stderr
    assert "face.safetensors: File too large; free space there" in result.stdout
    assert result.stdout.endswith(" False\n")
    assert (tmp_path / "run" / "config.json").is_file()


def test_a_create_that_fails_keeps_a_folder_that_was_there(tmp_path, ellipsoid_face, monkeypatch):
    def refuse(*_):
        raise StorageError("the disk is full; free space")

    monkeypatch.setattr(RunFolder, "write_json", refuse)
    folder = RunFolder(tmp_path)
    with pytest.raises(StorageError):
        folder.create(presets.load("embedded"), ellipsoid_face, INFO)
    folder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "torn", [b'{"step": 2, "lo', b"[3]", b"7", b'{"loss": 1}', b'{"step": "2"}', b'{"step": "\xff"}']
)
def test_history_ends_where_it_is_torn(tmp_path, torn):
    lines = [b'{"step": 0}', b'{"step": 1}', torn, b'{"step": 3}']
    (tmp_path / "history.jsonl").write_bytes(b"\n".join(lines))
    folder = RunFolder(tmp_path)
    assert folder.history() == [{"step": 0}, {"step": 1}]


def test_what_a_run_is_called_is_written_once_and_read_again(tmp_path, ellipsoid_face):
    info = RunInfo(name="run", storage="s3://bucket/runs", experiment="faces")
    folder = RunFolder(tmp_path / "run")
    folder.create(presets.load("embedded"), ellipsoid_face, info)
    folder.close()
    assert RunFolder(tmp_path / "run").info() == info
    assert re.fullmatch(r"[0-9a-f]{32}", info.run_id)
    assert RunInfo(name="run").run_id != info.run_id
    assert datetime.fromisoformat(info.created).tzinfo is not None


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b'{"name": "run", "schema_version": 2}', b'{"name": "r", "x": 1}']
)
def test_a_damaged_run_json_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.json cannot be used .*; start a new run"):
        RunFolder(tmp_path).info()
