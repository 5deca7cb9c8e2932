"""A tiny whole of networks that every step of the method can be tried on: the toy face at 32 px."""

import pytest
import torch

from focus_ray import model
from focus_ray.focus.face.camera import Camera
from focus_ray.focus.state import TrainState

MODEL = model.ModelSettings(
    camera=Camera(image_size=32),
    encoder=model.EncoderSettings(kind="small", width=4),
    segmenter=model.SegmenterSettings(width=4, levels=2, dropout=0.0),
    perceptual=model.PerceptualSettings(kind="warmup_encoder"),
)


@pytest.fixture
def state(toy_model) -> TrainState:
    focus = model.build(MODEL, toy_model)
    torch.nn.init.normal_(focus.encoder.head.weight, std=0.02)  # every picture its own face
    return TrainState(focus)
