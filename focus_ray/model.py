"""A FOCUS model as a thing to keep: what shapes its networks, how they are built, and the folder that holds them.

MODEL/  model.json  face.safetensors  encoder.safetensors  segmenter.safetensors  perceptual.safetensors  manifest.json

The face model travels with the networks: theta means nothing without the bases it was learned for.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, field_validator, model_validator

from focus_ray.errors import CheckpointError, ConfigError, ModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.autoencoder import Encoder, FaceAutoencoder, Focus
from focus_ray.focus.camera import Camera
from focus_ray.focus.networks.encoder import ResNet50Encoder, SmallEncoder
from focus_ray.focus.networks.iresnet import IResNet50
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, EncoderPerceptual
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.parameters import THETA_MODES, ParameterScales
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render.renderer import Renderer
from focus_ray.settings import Settings
from focus_ray.storage import artifact_store, checkpoint
from focus_ray.storage.open_store import open_store

PRETRAINED_MODEL = Path(__file__).resolve().parent / "pretrained"
"""The model folder that comes with the package."""

NETWORKS = ("encoder", "segmenter", "perceptual")

FORMAT = 1

# What a model folder may ask for before its weights are compared with it: beyond, the networks alone fill a machine.
MAX_WIDTH = 1024
MAX_SMALL_WIDTH = 256  # of the small encoder: 0.7 GB
MAX_LEVELS = 8
MAX_DEEPEST_WIDTH = 4096  # channels of the UNet's last level: 2 GB
IMAGE_SIZES = (16, 1024)  # px


class EncoderSettings(Settings):
    """The network that sees the parameters."""

    kind: Literal["small", "resnet50"] = "resnet50"
    width: int = Field(default=16, gt=0, le=MAX_SMALL_WIDTH)  # of the small encoder
    weights: Path | None = None  # torchvision's ResNet-50, for a start from ImageNet

    @model_validator(mode="after")
    def _check_weights(self) -> "EncoderSettings":
        if self.weights is not None and self.kind != "resnet50":
            raise ValueError("ImageNet weights are those of kind resnet50; leave weights out, or set the kind")
        return self


class SegmenterSettings(Settings):
    """The UNet; defaults of the released code."""

    width: int = Field(default=64, gt=0, le=MAX_WIDTH)
    levels: int = Field(default=5, gt=1, le=MAX_LEVELS)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    slope: float = Field(default=5.0, gt=0)
    norm: Literal["batch", "group"] = "batch"

    @model_validator(mode="after")
    def _check_size(self) -> "SegmenterSettings":
        if self.deepest_width > MAX_DEEPEST_WIDTH:
            raise ValueError(
                f"the deepest level would have {self.deepest_width} channels, more than {MAX_DEEPEST_WIDTH}"
            )
        return self

    @property
    def deepest_width(self) -> int:
        """Channels of the deepest level."""
        return self.width * 2 ** (self.levels - 1)


class PerceptualSettings(Settings):
    """The frozen network that the perceptual losses look through."""

    kind: Literal["warmup_encoder", "arcface"] = "arcface"
    weights: Path | None = None  # arcface_torch backbone.pth

    @model_validator(mode="after")
    def _check_weights(self) -> "PerceptualSettings":
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

    @field_validator("camera")
    @classmethod
    def _check_image_size(cls, camera: Camera) -> Camera:
        smallest, largest = IMAGE_SIZES
        if not smallest <= camera.image_size <= largest:
            raise ValueError(f"image_size {camera.image_size} is outside {smallest} to {largest} px")
        return camera


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


def weights_digest(focus: Focus) -> str:
    """sha256 (hex) over the weights of encoder and segmenter."""
    digest = hashlib.sha256()
    for network in (focus.encoder, focus.segmenter):
        for tensor in network.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def build(settings: ModelSettings, face_model: MorphableModel, *, perceptual: bool = True) -> Focus:
    """The networks, untrained, around a face model.

    `perceptual=False` leaves out the warm-up encoder's copy, which training makes when the warm-up ends.
    Raises ConfigError where the face model has other numbers of modes than theta, or a network cannot see images of
    the camera's size.
    """
    if (face_model.n_identity, face_model.n_expression, face_model.n_albedo) != THETA_MODES:
        raise ConfigError(
            f"theta holds 80 + 64 + 80 coefficients, the face model {face_model.n_identity} + "
            f"{face_model.n_expression} + {face_model.n_albedo}; truncate it or build it with those"
        )
    encoder = build_encoder(settings)
    segmenter = UNet(**settings.segmenter.model_dump())
    if settings.camera.image_size % segmenter.stride:
        raise ConfigError(
            f"the UNet cannot halve {settings.camera.image_size} px often enough; choose an image_size divisible by "
            f"{segmenter.stride}, or fewer levels"
        )
    focus = Focus(FaceAutoencoder(encoder, Renderer(face_model, settings.camera)), segmenter, settings.scales)
    if settings.perceptual.kind == "arcface":
        focus.perceptual = ArcFacePerceptual(IResNet50())
    elif perceptual:
        focus.perceptual = EncoderPerceptual(build_encoder(settings))
    return focus


def build_encoder(settings: ModelSettings) -> Encoder:
    """Build the encoder of the settings. Its head is zero-initialised, so it predicts the mean face."""
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
        tensors = {name: {key: to_half(key, value) for key, value in state.items()} for name, state in tensors.items()}
        face = face_from_tensors(tensors["face"], face.name, face.n_identity)  # rounded, as it will be loaded
    info = {
        "format": FORMAT,
        "version": model.version,
        "settings": model.settings.model_dump(mode="json"),
        "refine": model.refine.model_dump(mode="json"),
        "face": {"name": face.name, "n_identity": face.n_identity, "digest": face.digest},
    }
    checkpoint.save_model(folder, tensors, info)


def load(folder: Path | None = None) -> Model:
    """Read a model folder, the shipped one unless another is named, after every file was verified.

    Networks come frozen, in eval mode, on the CPU, as float32.
    Raises CheckpointError where a file is missing, altered or not of this format, or a weight is not finite;
    ModelError where the shipped one is asked for and the package came without it, as that of a job does.
    """
    folder = PRETRAINED_MODEL if folder is None else Path(folder)
    if folder == PRETRAINED_MODEL and not folder.exists():
        raise ModelError(
            "this copy of focus-ray has no model of its own (jobs are sent without it); name a "
            "model folder, or set start_from=FOLDER where training begins with a model"
        )
    stored = checkpoint.load_model(folder)
    networks, info = stored.networks, stored.info
    if info.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {info.get('format')!r}, this version reads {FORMAT}; use the version that wrote it"
        )
    check_finite(folder, networks)
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
    except (KeyError, TypeError, AttributeError, ValidationError, RuntimeError, ConfigError) as error:
        reason = summarize_error(error)
        raise CheckpointError(f"{folder} is not a model of this version ({reason}); use another copy") from None
    return Model(focus.eval().requires_grad_(False), settings, refine, version)


def describe(folder: Path, stored: checkpoint.StoredModel) -> dict[str, Any]:
    """model.json, with the digest of the face as it is loaded, which priors name: it may stand there from before the
    bases were rounded to half precision.

    Raises FaceModelError where the arrays do not fit together, CheckpointError where their description is missing.
    """
    if "face" not in stored.networks:
        return stored.info
    try:
        face = dict(stored.info["face"])
        loaded = face_from_tensors(stored.networks["face"], face["name"], face["n_identity"])
    except (KeyError, TypeError, ValueError) as error:
        reason = summarize_error(error)
        raise CheckpointError(
            f"{folder}/model.json: entry `face` is missing or invalid ({reason}); use another copy"
        ) from None
    return {**stored.info, "face": {**face, "digest": loaded.digest}}


def load_from(location: str) -> Model:
    """`load`, of a folder or of s3://bucket/prefix/RUN/model. Raises StorageError too."""
    if "://" not in location:
        return load(Path(location))
    parent, _, name = location.rstrip("/").rpartition("/")
    with artifact_store.open_folder(open_store(parent), name, checkpoint.MODEL) as folder:
        return load(folder)


def check_finite(folder: Path, networks: dict[str, dict[str, torch.Tensor]]) -> None:
    """Raises CheckpointError where a weight is NaN or infinite: such a network answers nothing."""
    for network, tensors in networks.items():
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise CheckpointError(f"{folder}: {network} has values in {name} that are not finite; use another copy")


def summarize_error(error: Exception) -> str:
    """What an error says, for the middle of a message: of a setting, its key and what is wrong with it."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0]


PART_PREFIX = "part."


def face_tensors(face_model: MorphableModel) -> dict[str, torch.Tensor]:
    """The arrays of a face model by name, part masks included."""
    arrays = {name: buffer for name, buffer in face_model.named_buffers()}
    return arrays | {PART_PREFIX + name: mask for name, mask in face_model.parts.items()}


def face_from_tensors(tensors: dict[str, torch.Tensor], name: str, n_identity: int) -> MorphableModel:
    """The inverse of `face_tensors`. Raises FaceModelError where the arrays do not fit together."""
    parts = {key.removeprefix(PART_PREFIX): mask for key, mask in tensors.items() if key.startswith(PART_PREFIX)}
    arrays = {key: value for key, value in tensors.items() if not key.startswith(PART_PREFIX)}
    return MorphableModel(name=name, n_identity=n_identity, parts=parts, **arrays)


def to_half(name: str, value: torch.Tensor) -> torch.Tensor:
    """float16 where that keeps what matters: not for means, coordinates and integers."""
    keeps = not value.is_floating_point() or name in ("mean", "mean_albedo", "uv", "landmark_barycentric")
    return value if keeps else checkpoint.as_half(name, value)
