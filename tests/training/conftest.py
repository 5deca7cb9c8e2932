"""A whole run in miniature: the toy face at 32 px, two steps of each phase, made in well under a second."""

import pytest
import torch

from focus_ray import model, presets
from focus_ray.config import RunConfig
from focus_ray.focus.face.camera import Camera
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.focus.guard import Guard
from focus_ray.focus.schedule import Schedule
from focus_ray.focus.state import Targets, TrainState
from focus_ray.focus.synthesis import SamplingLaws, generator, render_random

BATCH = 4


@pytest.fixture
def tiny_config() -> RunConfig:
    config = presets.embedded()
    return config.model_copy(
        update={
            "batch_size": BATCH,
            "model": config.model.model_copy(update={"camera": Camera(image_size=32)}),
            "schedule": Schedule(
                warmup_steps=2, init_steps=2, pretrain_seg_steps=2, cycles=2, seg_steps=2, face_steps=2
            ),
            "warmup": config.warmup.model_copy(update={"batch_size": BATCH}),
        }
    )


class Miniature:
    """Everything that `steps` asks for, built anew at each call with the same seed."""

    def __init__(self, config: RunConfig, face: MorphableModel):
        self.config = config
        self.face = face

    def state(self) -> TrainState:
        torch.manual_seed(self.config.seed)
        return TrainState(model.build(self.config.model, self.face, perceptual=False))

    def guard(self) -> Guard:
        return Guard(self.config.guard)

    def targets_of(self, step: int) -> Targets:
        renderer = self.state().focus.renderer
        images, theta = render_random(renderer, SamplingLaws(), BATCH, generator(7, step))
        images[:, :, 10:20, 8:16] = 0.5  # an occluder
        return Targets(images, renderer(theta).landmarks)


@pytest.fixture
def miniature(tiny_config: RunConfig, toy_model: MorphableModel) -> Miniature:
    return Miniature(tiny_config, toy_model)
