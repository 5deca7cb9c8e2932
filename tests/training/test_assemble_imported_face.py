"""A run with `face.file`: it fits and draws the imported face, and needs the file only to begin."""

from pathlib import Path

import pytest
import torch

from focus_ray import model as models
from focus_ray import presets
from focus_ray.config import RunConfig
from focus_ray.errors import ConfigError, FaceModelError, Interrupted
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.runtime.callbacks import Callback
from focus_ray.training import assemble, in_process
from focus_ray.training.worker import make_batch_fn


class StopAfterTheFirstSave(Callback):
    def on_save(self, *_):
        raise KeyboardInterrupt


@pytest.fixture
def imported(config: RunConfig, ellipsoid_face: MorphableModel, tmp_path: Path) -> RunConfig:
    ellipsoid_face.save(tmp_path / "own.face")
    return config.with_face(str(tmp_path / "own.face"))


def test_the_model_has_the_imported_face(imported: RunConfig, ellipsoid_face: MorphableModel, tmp_path: Path):
    in_process.train(imported, tmp_path / "run")
    assert models.load(tmp_path / "run" / "model").focus.face_model.digest == ellipsoid_face.digest


def test_synthetic_people_have_the_imported_face(imported: RunConfig, ellipsoid_face: MorphableModel, tmp_path: Path):
    data = assemble.training_data(imported)
    assert data.heldout is not None
    assert data.heldout.batch([0]).vertices.shape[1:] == ellipsoid_face.mean.shape
    assert imported.face.file is not None
    Path(imported.face.file).unlink()
    again = assemble.training_data(imported, face=ellipsoid_face)
    assert torch.equal(again.batch_of(3).images, data.batch_of(3).images)
    elsewhere = make_batch_fn(imported.model_dump_json(), 0, 1, ellipsoid_face.to_bytes())
    assert torch.equal(elsewhere(3).images, data.batch_of(3).images)


def test_a_run_goes_on_without_the_file(imported: RunConfig, tmp_path: Path):
    in_process.train(imported, tmp_path / "straight")
    with pytest.raises(Interrupted):
        in_process.train(imported, tmp_path / "run", callback=StopAfterTheFirstSave())
    assert imported.face.file is not None
    Path(imported.face.file).unlink()
    in_process.train(None, tmp_path / "run")
    versions = [models.load(tmp_path / run / "model").version for run in ("straight", "run")]
    assert versions[0] == versions[1]


def test_a_missing_file(config: RunConfig, tmp_path: Path):
    with pytest.raises(FaceModelError, match="there is no face model"):
        in_process.train(config.with_face(str(tmp_path / "none.face")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_model_has_its_own_face(imported: RunConfig, straight_run: Path):
    with pytest.raises(ConfigError, match="has its own face model"):
        assemble.fitted_face(imported.model_copy(update={"start_from": straight_run / "model"}))


@pytest.mark.parametrize("name", ["embedded", "paper", "release"])
def test_every_preset_that_trains_from_nothing_takes_a_face(name: str):
    assert presets.load(name, None, ["face.file=ict"]).face.file == "ict"
    assert presets.load(name).with_face("ict").face.file == "ict"
