"""What a run begins with is read before anything is written; one that goes on is what it was."""

from pathlib import Path

import pytest

from focus_ray.config import override
from focus_ray.data.composites.planted import PlantedConfig
from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.training.prepare import RunRequest, prepare

pytestmark = pytest.mark.usefixtures("ellipsoid_world")


@pytest.fixture
def begun(config, tmp_path):
    """A run that was begun and left, with its checkpoints in a bucket."""
    prepared = prepare(RunRequest(config, tmp_path / "run", storage="s3://bucket/runs", experiment="faces"))
    prepared.acquire()
    prepared.folder.close()
    return prepared


def test_nothing_is_written_before_the_folder_is_claimed(config, tmp_path):
    prepared = prepare(RunRequest(config, tmp_path / "a" / "run"))
    assert not (tmp_path / "a").exists()
    assert not prepared.request.resumes
    assert (prepared.info.name, prepared.info.storage, prepared.info.experiment) == ("run", None, "focus")
    assert prepared.folder.checkpoints.keep == config.cadence.keep
    prepared.acquire()
    assert {path.name for path in (tmp_path / "a" / "run").iterdir()} == {
        "config.json", "run.json", "face.safetensors", "sheets", ".lock"
    }  # fmt: skip
    with pytest.raises(ConfigError, match="another process"):
        prepare(RunRequest(None, tmp_path / "a" / "run")).acquire()
    prepared.folder.close()


def test_a_run_is_called_like_its_folder_wherever_it_was_started(config, tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()
    monkeypatch.chdir(tmp_path / "lab")
    assert prepare(RunRequest(config, Path("."))).info.name == "lab"
    assert prepare(RunRequest(config, Path("x/../y"))).info.name == "y"


def test_a_run_that_goes_on_has_its_own_configuration_face_and_name(begun, tmp_path):
    prepared = prepare(RunRequest(None, tmp_path / "run", experiment="another"))
    assert prepared.request.resumes
    assert prepared.config == begun.config
    assert prepared.face.digest == begun.face.digest
    assert prepared.info == begun.info
    assert prepared.info.experiment == "faces"
    assert prepared.folder.checkpoints.keep == begun.config.cadence.keep
    prepared.acquire()
    prepared.folder.close()


def test_a_run_stays_with_its_storage(begun, config, tmp_path):
    assert prepare(RunRequest(None, tmp_path / "run", storage="s3://bucket/runs")).info == begun.info
    with pytest.raises(ConfigError, match=r"keeps its checkpoints in s3://bucket/runs; give no other storage"):
        prepare(RunRequest(None, tmp_path / "run", storage="s3://elsewhere"))
    at_home = prepare(RunRequest(config, tmp_path / "home"))
    at_home.acquire()
    at_home.folder.close()
    with pytest.raises(ConfigError, match=r"keeps its checkpoints in its own folder; give no other storage"):
        prepare(RunRequest(None, tmp_path / "home", storage="s3://bucket/runs"))


def test_a_new_run_takes_the_place_of_nothing(begun, config, tmp_path):
    again = prepare(RunRequest(config, tmp_path / "run"))
    with pytest.raises(ConfigError, match="not empty; resume"):
        again.acquire()
    assert prepare(RunRequest(None, tmp_path / "run")).info == begun.info


def test_what_is_no_run_cannot_go_on(begun, tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        prepare(RunRequest(None, tmp_path))
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"run\.json cannot be used"):
        prepare(RunRequest(None, tmp_path / "run"))
    (tmp_path / "run" / "config.json").write_text('{"preset": 1}')
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        prepare(RunRequest(None, tmp_path / "run"))


def test_a_run_that_plants_occluders_needs_photographs(config, tmp_path):
    planted = config.model_copy(update={"data": config.data.model_copy(update={"planted": PlantedConfig()})})
    with pytest.raises(ConfigError, match="give their folder"):
        prepare(RunRequest(planted, tmp_path / "run"))
    with pytest.raises(ConfigError, match="set both or neither"):
        prepare(RunRequest(override(config, {"em": {"segmentation": {"eta_planted": 1.0}}}, "test"), tmp_path / "run"))
    assert prepare(RunRequest(planted.with_photos(str(tmp_path), None), tmp_path / "run")).config.photos
