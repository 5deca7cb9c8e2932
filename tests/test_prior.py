"""A prior as a thing to keep: what is written comes back, and it is used where it belongs and nowhere else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.errors import CheckpointError, FaceModelError, ModelError
from focus_ray.focus.misfit import READINGS
from focus_ray.model import Model
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.prior import ErrorReduction, GateResult, Pipeline, Prior, PriorInfo, load, save, select_prior
from tests.priors.conftest import stand_in

REDUCTION = ErrorReduction(
    rms_before_mm=1.0,
    rms_after_mm=0.05,
    rms_prior_mm=1.0,
    standard_error_mm=0.02,
    heldout_standard_error_mm=0.02,
    distance_before_mm=3.0,
    distance_after_mm=2.9,
    improved_share=0.7,
    by_region={},
)


def gate(gain: float) -> GateResult:
    return GateResult(
        model_version="r",
        model_digest="0" * 64,
        faces=100,
        vertex_before_mm=3.0,
        vertex_after_mm=3.0 - gain,
        gain_mm=gain,
        gain_standard_error_mm=0.01,
        improved_share=0.6,
    )


def prior_of(model: Model, refine_steps: int = 0, **changes) -> Prior:
    """E_MP = 1 mm along x, everywhere."""
    face = model.focus.face_model
    info = PriorInfo(
        n=1000,
        heldout_n=500,
        face_model=face.name,
        face_model_digest=face.digest,
        pipeline=Pipeline.from_model(model, refine_steps),
        applied="posed",
        model_version=model.version,
        model_digest="0" * 64,
        seed=0,
        laws={},
        figures=dict.fromkeys(READINGS, REDUCTION),
        faces_per_s=100.0,
        shards_computed=3,
        shards_kept=0,
        stopped_early=False,
    ).model_copy(update=changes)
    error = torch.tensor([1.0, 0.0, 0.0]).expand(face.n_vertices, 3)
    return Prior(dict.fromkeys(READINGS, error), dict.fromkeys(READINGS, error / 10), info)


@pytest.fixture(scope="module")
def model(small_face) -> Model:
    return stand_in(small_face)


def test_what_is_written_comes_back(model, tmp_path):
    prior = prior_of(model, gate=gate(0.5))
    save(tmp_path / "prior", prior)
    again = load(tmp_path / "prior")
    assert again.info == prior.info
    for reading in READINGS:
        assert torch.equal(again.errors[reading], prior.errors[reading])
        assert torch.equal(again.standard_errors[reading], prior.standard_errors[reading])
    document = json.loads((tmp_path / "prior" / "prior.json").read_text())
    assert (document["rms_before_mm"], document["rms_after_mm"], document["improved_share"]) == (1.0, 0.05, 0.7)
    assert {path.name for path in (tmp_path / "prior").iterdir()} == {
        "prior.json",
        "prior.safetensors",
        "manifest.json",
    }


def test_the_correction_is_one_subtraction(model):
    vertices = torch.randn(2, model.focus.face_model.n_vertices, 3)
    corrected = prior_of(model).correct(vertices)
    torch.testing.assert_close(corrected[..., 0], vertices[..., 0] - 1)
    assert torch.equal(corrected[..., 1:], vertices[..., 1:])


@pytest.mark.parametrize("name", ["prior.json", "prior.safetensors", "manifest.json"])
def test_a_damaged_prior_is_refused(model, tmp_path, name):
    save(tmp_path / "prior", prior_of(model))
    path = tmp_path / "prior" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        load(tmp_path / "prior")


def test_a_prior_that_is_none_is_refused(tmp_path, model):
    with pytest.raises(CheckpointError, match="no prior at"):
        load(tmp_path / "absent")
    bad = prior_of(model)
    bad.errors["neutral"] = torch.full_like(bad.error, float("nan"))
    save(tmp_path / "prior", bad)
    with pytest.raises(CheckpointError, match="not finite"):
        load(tmp_path / "prior")


def test_another_face_or_pipeline_is_refused(model, ellipsoid_face):
    prior = prior_of(model)
    prior.check_pipeline(model, 0)
    with pytest.raises(ModelError, match=r"refine_steps 0, here 50.*refine for 0 steps"):
        prior.check_pipeline(model, 50)
    larger = model.settings.camera.model_copy(update={"image_size": 64})
    other = Model(model.focus, model.settings.model_copy(update={"camera": larger}), model.refine, "other")
    with pytest.raises(ModelError, match="another pipeline"):
        prior.check_pipeline(other, 0)
    assert prior.matches(model, 0)
    assert not prior.matches(other, 0)
    with pytest.raises(FaceModelError, match=f"vertices, this one {ellipsoid_face.n_vertices}"):
        priors.check_face_model(prior, ellipsoid_face)
    fewer = model.focus.face_model.truncate(80, 63, 80)
    with pytest.raises(FaceModelError, match="the digest"):
        priors.check_face_model(prior, fewer)


@pytest.mark.parametrize(("gain", "used"), [(0.5, True), (0.015, False), (-0.5, False)])
def test_the_gate_decides_what_happens_by_default(model, tmp_path, monkeypatch, gain, used):
    model, other = replace(model, version="r"), replace(model, version="other")
    monkeypatch.setattr(priors, "SHIPPED_PRIOR", tmp_path / "shipped")
    assert select_prior(None, model) is None  # none is shipped
    save(tmp_path / "shipped", prior_of(model, gate=gate(gain)))
    assert (select_prior(None, model) is not None) is used
    assert select_prior(None, other) is None
    assert select_prior("none", model) is None
    assert select_prior(tmp_path / "shipped", other) is not None


def test_the_shipped_prior_is_that_of_the_embedded_model():
    embedded = models.load(SHIPPED_MODELS["embedded"])
    prior = select_prior(None, embedded)
    assert prior is not None
    assert prior.matches(embedded, 0)
    assert not prior.matches(embedded, embedded.refine_steps, photographs=True)
    assert select_prior(None, models.load(SHIPPED_MODELS["portrait"])) is None


def test_without_a_gate_nothing_is_applied_by_default(model):
    assert not prior_of(model).info.by_default


def test_a_folder_of_a_model_is_no_prior(model, tmp_path: Path):
    models.save(tmp_path / "model", model)
    with pytest.raises(CheckpointError, match="not a prior"):
        load(tmp_path / "model")
