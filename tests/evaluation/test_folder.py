"""`evaluate folder`: what is refused before anything is scored, and what a prior does."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.data.synthetic_folder import write_folder
from focus_ray.errors import DataError, ModelError
from focus_ray.evaluation import folder as evaluation
from tests.priors.conftest import stand_in
from tests.test_prior import prior_of


def test_a_folder_without_masks_is_a_data_error(tmp_path: Path, ellipsoid_face, monkeypatch: pytest.MonkeyPatch):
    write_folder(tmp_path / "set", n=1, size=32, world=ellipsoid_face)
    shutil.rmtree(tmp_path / "set" / "masks")
    monkeypatch.setattr(evaluation.models, "load", lambda path: SimpleNamespace(image_size=32))
    with pytest.raises(DataError, match="give masks/"):
        evaluation.evaluate_folder(tmp_path / "set", None)


def test_a_prior_is_scored_beside_the_fit_that_it_was_measured_for(tmp_path: Path, small_face, world_face):
    write_folder(tmp_path / "set", n=6, size=32, world=world_face)
    model = stand_in(small_face)
    models.save(tmp_path / "model", model)
    priors.save(tmp_path / "prior", prior_of(model))
    plain = evaluation.evaluate_folder(tmp_path / "set", tmp_path / "model")
    scored = evaluation.evaluate_folder(tmp_path / "set", tmp_path / "model", prior=tmp_path / "prior")
    everyone = scored["all"]
    assert "corrected_mm" not in plain["all"]
    assert everyone["vertex_mm"] == plain["all"]["vertex_mm"]
    # a shift of all vertices: the alignment before the figure takes it out again
    assert everyone["corrected_mm"] == pytest.approx(everyone["vertex_mm"], abs=1e-5)
    assert 0 <= everyone["improved_share"] <= 1
    assert "corrected_mm" not in scored["mean_face"]["all"]
    priors.save(tmp_path / "refined", prior_of(model, refine_steps=4))
    with pytest.raises(ModelError, match="another pipeline"):
        evaluation.evaluate_folder(tmp_path / "set", tmp_path / "model", refine_steps=2, prior=tmp_path / "refined")
