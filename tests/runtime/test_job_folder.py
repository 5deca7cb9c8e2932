"""The folder of a job: one that was killed at its start is taken by the same command, anything else is left alone."""

from typing import Any

import pytest

from focus_ray.errors import ConfigError
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.settings import Settings


class Job(Settings):
    number: int = 1


def test_one_that_was_killed_before_it_had_a_configuration_is_taken_anew(tmp_path):
    with acquire_run_dir(tmp_path, Job(), "focus", label="job") as folder:
        first = folder.info().run_id
    folder.config_file.unlink()
    with acquire_run_dir(tmp_path, Job(), "focus", label="job") as folder:
        assert folder.config_file.is_file()
        assert folder.info().run_id != first


def test_other_things_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with (
        pytest.raises(ConfigError, match="is not empty and holds no job"),
        acquire_run_dir(tmp_path, Job(), "focus", label="job"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_not_compared_may_differ(tmp_path):
    def without_number(tree: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in tree.items() if name != "number"}

    with acquire_run_dir(tmp_path, Job(), "focus", label="job"):
        pass
    with (
        pytest.raises(ConfigError, match=r"another job \(number differ\)"),
        acquire_run_dir(tmp_path, Job(number=2), "focus", label="job"),
    ):
        pass
    with acquire_run_dir(tmp_path, Job(number=2), "focus", label="job", comparable=without_number) as folder:
        assert folder.config_file.is_file()
