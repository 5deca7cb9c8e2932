"""A FOCUS model as a thing to keep: what shapes its networks, how they are built, and the folder that holds them.

MODEL/  model.json  face.safetensors  encoder.safetensors  segmenter.safetensors  perceptual.safetensors  manifest.json

The face model travels with the networks: theta means nothing without the bases it was learned for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import nn

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.focus.autoencoder import FaceAutoencoder, Focus
from focus_ray.focus.face.camera import Camera
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.focus.face.parameters import ParameterScales
from focus_ray.focus.networks.encoder import ResNet50Encoder, SmallEncoder
from focus_ray.focus.networks.identity import IResNet50
from focus_ray.focus.networks.perceptual import EncoderPerceptual, IdentityPerceptual
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.settings import Settings

NETWORKS = ("encoder", "segmenter", "perceptual")


class EncoderSettings(Settings):
    """The network that sees the parameters."""

    kind: Literal["small", "resnet50"] = "resnet50"
    width: int = Field(16, gt=0)  # of the small encoder
    weights: Path | None = None  # torchvision's ResNet-50, for a start from ImageNet


class SegmenterSettings(Settings):
    """The UNet; defaults of the released code."""

    width: int = Field(64, gt=0)
    levels: int = Field(5, gt=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    slope: float = Field(5.0, gt=0)
    norm: Literal["batch", "group"] = "batch"


class PerceptualSettings(Settings):
    """The frozen network that the perceptual losses look through."""

    kind: Literal["warmup_encoder", "arcface"] = "arcface"
    weights: Path | None = None  # arcface_torch backbone.pth


class ModelSettings(Settings):
    """Everything that decides which networks a model has and what their outputs mean."""

    camera: Camera = Camera()
    scales: ParameterScales = ParameterScales()
    encoder: EncoderSettings = EncoderSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    perceptual: PerceptualSettings = PerceptualSettings()


@dataclass
class Model:
    """A trained pipeline and what a user of it must know."""

    focus: Focus
    settings: ModelSettings
    refine: RefineSettings
    version: str
