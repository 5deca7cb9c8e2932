"""A run folder holds one training at a time."""

import pytest

from focus_ray import presets
from focus_ray.errors import ConfigError
from focus_ray.training.run_folder import RunFolder


def test_nobody_else_trains_in_the_folder_until_it_is_closed(tmp_path, toy_model):
    mine, theirs = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    mine.create(presets.load("embedded"), toy_model)
    config, face = theirs.open()  # looking is free
    assert config.preset == "embedded"
    assert face.digest == toy_model.digest
    with pytest.raises(ConfigError, match="another process is training"):
        theirs.lock()
    mine.close()
    theirs.lock()
    theirs.close()


def test_a_lock_left_behind_by_a_killed_process_does_not_make_the_folder_full(tmp_path, toy_model):
    (tmp_path / ".lock").touch()
    folder = RunFolder(tmp_path)
    folder.create(presets.load("embedded"), toy_model)
    folder.close()


def test_a_folder_with_files_is_left_alone(tmp_path, toy_model):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder(tmp_path).create(presets.load("embedded"), toy_model)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
