"""A FOCUS model as a thing to keep: what shapes its networks, how they are built, and the folder that holds them.

MODEL/  model.json  face.safetensors  encoder.safetensors  segmenter.safetensors  perceptual.safetensors  manifest.json

The face model travels with the networks: theta means nothing without the bases it was learned for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError, model_validator

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.focus.autoencoder import Encoder, FaceAutoencoder, Focus
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
from focus_ray.storage import checkpoint

SHIPPED = Path(__file__).resolve().parent / "pretrained"
"""The model folder that comes with the package."""

NETWORKS = ("encoder", "segmenter", "perceptual")


class EncoderSettings(Settings):
    """The network that sees the parameters."""

    kind: Literal["small", "resnet50"] = "resnet50"
    width: int = Field(default=16, gt=0)  # of the small encoder
    weights: Path | None = None  # torchvision's ResNet-50, for a start from ImageNet

    @model_validator(mode="after")
    def _weights_are_used(self) -> "EncoderSettings":
        if self.weights is not None and self.kind != "resnet50":
            raise ValueError("ImageNet weights are those of kind resnet50; leave weights out, or set the kind")
        return self


class SegmenterSettings(Settings):
    """The UNet; defaults of the released code."""

    width: int = Field(default=64, gt=0)
    levels: int = Field(default=5, gt=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    slope: float = Field(default=5.0, gt=0)
    norm: Literal["batch", "group"] = "batch"


class PerceptualSettings(Settings):
    """The frozen network that the perceptual losses look through."""

    kind: Literal["warmup_encoder", "arcface"] = "arcface"
    weights: Path | None = None  # arcface_torch backbone.pth

    @model_validator(mode="after")
    def _weights_are_used(self) -> "PerceptualSettings":
        if self.weights is not None and self.kind != "arcface":
            raise ValueError("weights are those of kind arcface; leave them out, or set the kind")
        return self


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

    @property
    def image_size(self) -> int:
        """Size in px of the crops the model sees."""
        return self.settings.camera.image_size


def build(settings: ModelSettings, face: MorphableModel, *, perceptual: bool = True) -> Focus:
    """The networks, untrained, around a face model.

    `perceptual=False` leaves out the warm-up encoder's copy, which training makes when the warm-up ends.
    Raises ConfigError where the face model has other numbers of modes than theta.
    """
    if (face.n_identity, face.n_expression, face.n_albedo) != (80, 64, 80):
        raise ConfigError(
            f"theta holds 80 + 64 + 80 coefficients, the face model {face.n_identity} + {face.n_expression} + "
            f"{face.n_albedo}; truncate it or build it with those"
        )
    encoder = build_encoder(settings)
    segmenter = UNet(**settings.segmenter.model_dump())
    focus = Focus(FaceAutoencoder(encoder, Renderer(face, settings.camera)), segmenter, settings.scales)
    if settings.perceptual.kind == "arcface":
        focus.perceptual = IdentityPerceptual(IResNet50())
    elif perceptual:
        focus.perceptual = EncoderPerceptual(build_encoder(settings))
    return focus


def build_encoder(settings: ModelSettings) -> Encoder:
    """The encoder that the settings name, its head zero: it says the mean face."""
    if settings.encoder.kind == "small":
        return SmallEncoder(settings.camera.image_size, width=settings.encoder.width, scales=settings.scales)
    return ResNet50Encoder(scales=settings.scales)


def save(folder: Path, model: Model, *, half: bool = False) -> None:
    """Write a model folder; with `half`, weights and bases as float16 (means stay float32: they are tens of mm).

    Raises StorageError where the disk refuses, ModelError where a weight does not fit float16.
    """
    focus, face = model.focus, model.focus.face_model
    tensors = {name: getattr(focus, name).state_dict() for name in NETWORKS if getattr(focus, name) is not None}
    tensors["face"] = face_tensors(face)
    if half:
        tensors = {name: {key: halved(key, value) for key, value in state.items()} for name, state in tensors.items()}
    info = {
        "format": 1,
        "version": model.version,
        "settings": model.settings.model_dump(mode="json"),
        "refine": model.refine.model_dump(mode="json"),
        "face": {"name": face.name, "n_identity": face.n_identity, "digest": face.digest},
    }
    checkpoint.save_model(folder, tensors, info)


def load(folder: Path | None = None) -> Model:
    """Read a model folder, the shipped one unless another is named, after every file was verified.

    Networks come frozen, in eval mode, on the CPU, as float32.
    Raises CheckpointError where a file is missing, altered or not of this format.
    """
    folder = SHIPPED if folder is None else Path(folder)
    stored = checkpoint.load_model(folder)
    networks, info = stored.networks, stored.info
    try:
        settings = ModelSettings.model_validate(info["settings"])
        refine = RefineSettings.model_validate(info["refine"])
        face = face_from_tensors(networks.pop("face"), info["face"]["name"], info["face"]["n_identity"])
        focus = build(settings, face)
        for name in NETWORKS:
            if name in networks:
                getattr(focus, name).load_state_dict(networks[name])
            elif name == "perceptual":
                focus.perceptual = None
            else:
                raise KeyError(name)
        version = str(info["version"])
    except (KeyError, TypeError, AttributeError, ValidationError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder} is not a model of this version ({reason}); use another copy") from None
    return Model(focus.eval().requires_grad_(False), settings, refine, version)


PART_PREFIX = "part."


def face_tensors(face: MorphableModel) -> dict[str, torch.Tensor]:
    """The arrays of a face model by name, part masks included."""
    arrays = {name: buffer for name, buffer in face.named_buffers()}
    return arrays | {PART_PREFIX + name: mask for name, mask in face.parts.items()}


def face_from_tensors(tensors: dict[str, torch.Tensor], name: str, n_identity: int) -> MorphableModel:
    """The inverse of `face_tensors`. Raises FaceModelError where the arrays do not fit together."""
    parts = {key.removeprefix(PART_PREFIX): mask for key, mask in tensors.items() if key.startswith(PART_PREFIX)}
    arrays = {key: value for key, value in tensors.items() if not key.startswith(PART_PREFIX)}
    return MorphableModel(name=name, n_identity=n_identity, parts=parts, **arrays)


def halved(name: str, value: torch.Tensor) -> torch.Tensor:
    """float16 where that keeps what matters: not for means, coordinates and integers."""
    keeps = not value.is_floating_point() or name in ("mean", "mean_albedo", "uv", "landmark_barycentric")
    return value if keeps else checkpoint.as_half(name, value)
