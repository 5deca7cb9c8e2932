"""A model folder whose manifest agrees with it is still refused where no model of this version can be made of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from focus_ray import model
from focus_ray.errors import CheckpointError, ModelError
from focus_ray.storage import checkpoint


@pytest.fixture(scope="module")
def shipped() -> checkpoint.StoredModel:
    return checkpoint.load_model(model.PRETRAINED_MODEL)


def resealed(folder: Path, shipped: checkpoint.StoredModel, **changes) -> Path:
    """The shipped model with other entries in its model.json."""
    checkpoint.save_model(folder, shipped.networks, {**json.loads(json.dumps(shipped.info)), **changes})
    return folder


def settings_with(shipped: checkpoint.StoredModel, part: str, **changes) -> dict:
    settings = json.loads(json.dumps(shipped.info["settings"]))
    settings[part].update(changes)
    return settings


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("camera", {"image_size": 1_000_000}),
        ("camera", {"image_size": 8}),
        ("segmenter", {"levels": 30}),
        ("segmenter", {"width": 100_000}),
        ("segmenter", {"width": 1024, "levels": 8}),
        ("encoder", {"width": 1024}),
    ],
)
def test_networks_that_would_fill_the_memory_are_refused(tmp_path, shipped, part, changes):
    folder = resealed(tmp_path / "model", shipped, settings=settings_with(shipped, part, **changes))
    with pytest.raises(CheckpointError, match=f"{part}.*; use another copy"):
        model.load(folder)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("camera", {"image_size": 80}, "image_size 80 is not divisible"),
        ("camera", {"image_size": 72}, "small encoder takes"),
    ],
)
def test_an_image_size_that_a_network_cannot_see_is_refused(tmp_path, shipped, part, changes, message):
    settings = settings_with(shipped, part, **changes)
    settings["segmenter"]["levels"] = 6
    with pytest.raises(CheckpointError, match=message):
        model.load(resealed(tmp_path / "model", shipped, settings=settings))


@pytest.mark.parametrize("number", [2, None])
def test_another_format_is_refused(tmp_path, shipped, number):
    with pytest.raises(CheckpointError, match=f"has format {number}, this version reads 1"):
        model.load(resealed(tmp_path / "model", shipped, format=number))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, shipped, value):
    networks = {name: dict(tensors) for name, tensors in shipped.networks.items()}
    networks["encoder"]["res2.body.4.weight"] = torch.full_like(networks["encoder"]["res2.body.4.weight"], value)
    checkpoint.save_model(tmp_path / "model", networks, shipped.info)
    with pytest.raises(CheckpointError, match=r"encoder has values in res2\.body\.4\.weight that are not finite"):
        model.load(tmp_path / "model")


@pytest.mark.parametrize("asked", [None, "shipped"])
def test_a_package_without_its_model_says_what_to_name(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(model, "PRETRAINED_MODEL", tmp_path / "pretrained")
    with pytest.raises(ModelError, match=r"has no shipped model .* set start_from=FOLDER"):
        model.load(None if asked is None else model.PRETRAINED_MODEL)


def test_half_precision_names_the_face_as_it_will_be_loaded(tmp_path):
    whole = model.load()
    whole.focus.face_model.shape_basis.mul_(1.0001)  # no longer what float16 can hold
    model.save(tmp_path / "model", whole, half=True)
    told = json.loads((tmp_path / "model" / "model.json").read_text())["face"]["digest"]
    assert told == model.load(tmp_path / "model").focus.face_model.digest
    assert told != whole.focus.face_model.digest


def test_an_appearance_prior_comes_back_and_is_optional(tmp_path: Path):
    shipped = model.load()
    assert shipped.appearance is not None
    assert shipped.refine_steps == shipped.photo.steps
    model.save(tmp_path / "with", shipped, half=True)
    again = model.load(tmp_path / "with")
    assert again.appearance is not None
    assert again.photo == shipped.photo
    for name, tensor in shipped.appearance.tensors().items():
        torch.testing.assert_close(again.appearance.tensors()[name], tensor, rtol=0, atol=0)
    model.save(tmp_path / "without", replace(shipped, appearance=None))
    bare = model.load(tmp_path / "without")
    assert bare.appearance is None
    assert bare.refine_steps == bare.refine.steps


def test_a_malformed_appearance_prior_is_refused(tmp_path: Path):
    shipped = model.load()
    assert shipped.appearance is not None
    model.save(tmp_path / "model", shipped)
    tensors = shipped.appearance.tensors() | {"residuals": torch.zeros(24, 24)}
    checkpoint.save_appearance(tmp_path / "model", tensors, {})
    with pytest.raises(CheckpointError, match="not positive"):
        model.load(tmp_path / "model")
