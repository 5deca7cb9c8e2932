"""A model folder whose manifest agrees with it is still refused where no model of this version can be made of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from focus_ray import model
from focus_ray.errors import CheckpointError, ModelError
from focus_ray.face_models import by_name
from focus_ray.focus.networks import iresnet
from focus_ray.focus.networks.face_mesh_network import FaceMeshNetwork
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet
from focus_ray.focus.networks.perceptual import ArcFacePerceptual
from focus_ray.model_location import SHIPPED_MODELS, find_model
from focus_ray.storage import checkpoint


@pytest.fixture(scope="module")
def shipped() -> checkpoint.StoredModel:
    return checkpoint.load_model(SHIPPED_MODELS["embedded"])


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


@pytest.mark.parametrize("asked", [None, *SHIPPED_MODELS])
def test_a_package_without_its_models_says_what_to_name(tmp_path, monkeypatch, asked):
    for name in SHIPPED_MODELS:
        monkeypatch.setitem(SHIPPED_MODELS, name, tmp_path / name)
    with pytest.raises(ModelError, match=r"has no shipped models .* set start_from=FOLDER"):
        model.load(find_model(asked))


def test_half_precision_names_the_face_as_it_will_be_loaded(tmp_path):
    whole = model.load(SHIPPED_MODELS["embedded"])
    whole.focus.face_model.shape_basis.mul_(1.0001)  # no longer what float16 can hold
    model.save(tmp_path / "model", whole, half=True)
    told = json.loads((tmp_path / "model" / "model.json").read_text())["face"]["digest"]
    assert told == model.load(tmp_path / "model").focus.face_model.digest
    assert told != whole.focus.face_model.digest


def test_an_appearance_prior_comes_back_and_is_optional(tmp_path: Path):
    shipped = model.load(SHIPPED_MODELS["embedded"])
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
    shipped = model.load(SHIPPED_MODELS["embedded"])
    assert shipped.appearance is not None
    model.save(tmp_path / "model", shipped)
    tensors = shipped.appearance.tensors() | {"residuals": torch.zeros(24, 24)}
    checkpoint.save_appearance(tmp_path / "model", tensors, {})
    with pytest.raises(CheckpointError, match="not positive"):
        model.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "network"),
    [("insightface_mbf", InsightMobileFaceNet((1, 2, 1, 1), 1)), ("face_mesh", FaceMeshNetwork())],
)
def test_a_model_folder_tells_the_size_of_its_recogniser(kind, network, tmp_path):
    shipped = model.load(SHIPPED_MODELS["embedded"])
    settings = shipped.settings.model_copy(update={"perceptual": model.PerceptualSettings(kind=kind)})
    shipped.focus.perceptual = ArcFacePerceptual(network)
    model.save(tmp_path / "model", replace(shipped, settings=settings), half=True)
    info = json.loads((tmp_path / "model" / "model.json").read_text())
    assert info["perceptual"] == {"architecture": network.architecture}
    again = model.load(tmp_path / "model").focus.perceptual
    assert isinstance(again, ArcFacePerceptual)
    assert again.network.architecture == network.architecture
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    stored = checkpoint.load_model(tmp_path / "model")
    networks = {**stored.networks, "perceptual": {"network.conv1.weight": torch.zeros(3)}}
    checkpoint.save_model(tmp_path / "other", networks, stored.info)
    with pytest.raises(CheckpointError, match=r"is not a model of this version .these are not the weights of"):
        model.load(tmp_path / "other")


def test_a_recogniser_of_another_depth_than_50_is_built_from_its_weights(monkeypatch):
    monkeypatch.setitem(iresnet.DEPTHS, 18, (1, 1, 1, 1))
    settings = model.load(SHIPPED_MODELS["embedded"]).settings
    settings = settings.model_copy(update={"perceptual": model.PerceptualSettings(kind="arcface")})
    state = ArcFacePerceptual(iresnet.IResNet(18)).state_dict()
    focus = model.build(settings, model.load(SHIPPED_MODELS["embedded"]).focus.face_model, recogniser=state)
    assert isinstance(focus.perceptual, ArcFacePerceptual)
    assert focus.perceptual.network.architecture == "iresnet18"


@pytest.fixture(scope="module")
def ict_model() -> model.Model:
    """Random networks around the face model that the package ships."""
    settings = model.ModelSettings(
        camera=model.Camera(image_size=32),
        encoder=model.EncoderSettings(kind="small", width=4),
        segmenter=model.SegmenterSettings(width=4, levels=2, dropout=0.0, norm="group"),
        perceptual=model.PerceptualSettings(kind="warmup_encoder"),
    )
    focus = model.build(settings, by_name.load_face("ict")).eval().requires_grad_(False)
    return model.Model(focus, settings, model.RefineSettings(steps=2), "test")


@pytest.mark.skipif(not by_name.SHIPPED_FACES["ict"].is_file(), reason="this copy has no ict.face")
class TestAShippedFace:
    """The arrays of a face model that the package ships are left out of the folder where that is asked for."""

    def test_it_is_taken_from_the_package(self, ict_model, tmp_path):
        model.save(tmp_path / "small", ict_model, half=True, copy_face=False)
        assert not (tmp_path / "small" / "face.safetensors").exists()
        face = json.loads((tmp_path / "small" / "model.json").read_text())["face"]
        assert (face["shipped"], face["digest"]) == ("ict", ict_model.focus.face_model.digest)
        assert face["provenance"]["licence"]["name"] == "MIT"
        again = model.load(tmp_path / "small").focus.face_model
        assert again.digest == ict_model.focus.face_model.digest
        assert again.expressions is not None
        assert again.description() == ict_model.focus.face_model.description()
        assert model.load_from(str(tmp_path / "small")).version == "test"
        described = model.describe(tmp_path / "small", checkpoint.load_model(tmp_path / "small"))
        assert described["face"] == face

    def test_a_folder_is_whole_unless_that_is_asked_for(self, ict_model, tmp_path):
        model.save(tmp_path / "whole", ict_model, half=True)
        assert (tmp_path / "whole" / "face.safetensors").exists()
        assert "shipped" not in json.loads((tmp_path / "whole" / "model.json").read_text())["face"]

    def test_another_face_is_copied(self, tmp_path):
        model.save(tmp_path / "model", model.load(SHIPPED_MODELS["embedded"]), half=True, copy_face=False)
        assert (tmp_path / "model" / "face.safetensors").exists()

    def test_another_digest_or_no_face_in_the_package_is_refused(self, ict_model, tmp_path, monkeypatch):
        folder = tmp_path / "model"
        model.save(folder, ict_model, half=True, copy_face=False)
        stored = checkpoint.load_model(folder)
        wrong = {**stored.info, "face": {**stored.info["face"], "digest": "0" * 64}}
        checkpoint.save_model(tmp_path / "wrong", stored.networks, wrong)
        with pytest.raises(CheckpointError, match="needs the face model 'ict' with digest 000000000000"):
            model.load(tmp_path / "wrong")
        nothing = {**stored.info, "face": {"name": "ict", "n_identity": 80}}
        checkpoint.save_model(tmp_path / "nothing", stored.networks, nothing)
        with pytest.raises(CheckpointError, match=r"has no face\.safetensors and refers to no face model"):
            model.load(tmp_path / "nothing")
        monkeypatch.setattr(by_name, "SHIPPED_FACES", {"ict": tmp_path / "absent.face"})
        for use in (model.load, lambda path: model.describe(path, stored)):
            with pytest.raises(ModelError, match="needs the face model 'ict', which this copy of focus-ray lacks"):
                use(folder)
