"""A stand-in for R_syn: small, and wrong in its own way about every face."""

from pathlib import Path

import pytest
import torch

from focus_ray import model as models
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.refine import RefineSettings
from focus_ray.model import EncoderSettings, Model, ModelSettings, PerceptualSettings, SegmenterSettings
from focus_ray.priors.prior_config import PriorConfig


def stand_in(face: MorphableModel) -> Model:
    """The model itself, around a face."""
    settings = ModelSettings(
        camera=Camera(image_size=32),
        encoder=EncoderSettings(kind="small", width=4),
        segmenter=SegmenterSettings(width=4, levels=2, dropout=0.0),
        perceptual=PerceptualSettings(kind="warmup_encoder"),
    )
    torch.manual_seed(3)
    focus = models.build(settings, face, perceptual=False).eval().requires_grad_(False)
    head = [parameter for name, parameter in focus.encoder.named_parameters() if "head" in name]
    assert head
    for parameter in head:
        parameter.normal_(std=0.1)
    return Model(focus, settings, RefineSettings(steps=4), "r-syn")


@pytest.fixture(scope="session")
def r_syn(small_face) -> Model:
    return stand_in(small_face)


@pytest.fixture(scope="session")
def r_syn_folder(r_syn: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("r_syn") / "model"
    models.save(folder, r_syn)
    return folder


@pytest.fixture
def config(r_syn_folder: Path) -> PriorConfig:
    """A build of seconds: 5 shards make the prior, 2 judge it."""
    return PriorConfig(model=str(r_syn_folder), n=90, heldout=40, shard_size=20)
