"""A FOCUS model: the settings of its networks, how they are built, and the folder that stores them.

MODEL/  model.json  face.safetensors  encoder.safetensors  segmenter.safetensors  perceptual.safetensors  manifest.json
        quality.json, the limits of the quality flags, if they were calibrated for this model
        appearance.safetensors, if the light and residuals of photographs were learned for this model

The folder includes the face model: theta is meaningless without the bases that it was learned for. A folder without
face.safetensors refers to a face model of the package by name and digest, in the entry `face` of model.json.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, field_validator, model_validator

from focus_ray.errors import CheckpointError, ConfigError, ModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.shipped_face import load_shipped, shipped_name
from focus_ray.focus.appearance import AppearancePrior
from focus_ray.focus.autoencoder import Encoder, FaceAutoencoder, Focus
from focus_ray.focus.camera import Camera
from focus_ray.focus.networks.encoder import ResNet18Encoder, ResNet50Encoder, SmallEncoder
from focus_ray.focus.networks.iresnet import IResNet
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, EncoderPerceptual, rebuild_recogniser
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.parameters import THETA_MODES, ParameterScales
from focus_ray.focus.photo_fit import PhotoFitSettings
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render.renderer import Renderer
from focus_ray.licences.lineage import Lineage, read_lineage
from focus_ray.model_location import SHIPPED_MODELS, fetch_from_hub, find_model
from focus_ray.settings import Settings
from focus_ray.storage import artifact_store, checkpoint
from focus_ray.storage.hub_address import PREFIX as HUB_PREFIX
from focus_ray.storage.open_store import open_store

NETWORKS = ("encoder", "segmenter", "perceptual")
RESNETS = {"resnet18": ResNet18Encoder, "resnet50": ResNet50Encoder}

SHIPPED_FACE = "shipped"
"""Key in the entry `face` of model.json: name of the package's face model, in place of face.safetensors."""

FORMAT = 1

# Limits of the network sizes that a model folder may declare. Networks are built before their weights are checked, so
# larger sizes could exhaust the memory.
MAX_WIDTH = 1024
MAX_SMALL_WIDTH = 256  # of the small encoder: 0.7 GB
MAX_LEVELS = 8
MAX_DEEPEST_WIDTH = 4096  # channels of the UNet's last level: 2 GB
IMAGE_SIZES = (16, 1024)  # px


class EncoderSettings(Settings):
    """The encoder: the network that predicts the parameters theta."""

    kind: Literal["small", "resnet18", "resnet50"] = "resnet50"
    width: int = Field(default=16, gt=0, le=MAX_SMALL_WIDTH)  # of the small encoder
    weights: Path | None = None  # of torchvision or timm, to start from ImageNet

    @model_validator(mode="after")
    def _check_weights(self) -> "EncoderSettings":
        if self.weights is not None and self.kind == "small":
            raise ValueError("ImageNet weights require kind resnet18 or resnet50; leave weights out, or set the kind")
        return self


class SegmenterSettings(Settings):
    """The segmenter, a UNet; the defaults are those of the released code."""

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
    """The frozen network whose features the perceptual losses compare."""

    kind: Literal["warmup_encoder", "arcface", "auraface", "insightface_mbf", "mobilefacenet", "face_mesh"] = "arcface"
    weights: Path | None = None  # .pth, .safetensors or .onnx; a recogniser's depth is read from it

    @model_validator(mode="after")
    def _check_weights(self) -> "PerceptualSettings":
        if self.weights is not None and self.kind == "warmup_encoder":
            raise ValueError("weights require a recogniser, such as kind arcface; leave them out, or set the kind")
        return self


class ModelSettings(Settings):
    """All settings that determine the networks of a model and the meaning of their outputs."""

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
    """A trained pipeline with its settings and version.

    Attributes:
        focus: networks and renderer.
        settings: settings of the networks.
        refine: settings of the refinement.
        version: version of the weights.
        quality: content of quality.json; None if the model was not calibrated.
        appearance: light and residuals of photographs of open faces; None: not learned, so that photographs are refined
            like synthetic faces.
        photo: settings of the refinement of photographs, if `appearance` was learned.
        lineage: pictures that the model was made from.
    """

    focus: Focus
    settings: ModelSettings
    refine: RefineSettings
    version: str
    quality: Mapping[str, Any] | None = None
    appearance: AppearancePrior | None = None
    photo: PhotoFitSettings = field(default_factory=PhotoFitSettings)
    lineage: Lineage = field(default_factory=Lineage)

    @property
    def refine_steps(self) -> int:
        """Refinement steps of a photograph by default."""
        return self.refine.steps if self.appearance is None else self.photo.steps

    @property
    def image_size(self) -> int:
        """Side of the crops that the model takes, px."""
        return self.settings.camera.image_size


def weights_digest(focus: Focus) -> str:
    """Compute the sha256 (hex) of the weights of encoder and segmenter."""
    digest = hashlib.sha256()
    for network in (focus.encoder, focus.segmenter):
        for tensor in network.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def shift_masks(model: Model, logits: float) -> Model:
    """Add a constant to the logits of S, so that its masks remove less (above 0) or more of the face.

    Args:
        model: changed in place; the prior of photographs was learned with the other masks and is dropped.
        logits: the constant.

    Returns:
        The model with the version of its new weights.
    """
    segmenter = model.focus.segmenter
    with torch.no_grad():
        segmenter.last.get_parameter("bias").add_(logits / segmenter.slope)
    name = model.version.rpartition("-")[0] or model.version
    version = f"{name}-{weights_digest(model.focus)[:12]}"
    lineage = model.lineage.model_copy(update={"appearance": None})
    return replace(model, version=version, quality=None, appearance=None, photo=PhotoFitSettings(), lineage=lineage)


def build(
    settings: ModelSettings,
    face_model: MorphableModel,
    *,
    perceptual: bool = True,
    recogniser: Mapping[str, torch.Tensor] | None = None,
) -> Focus:
    """Build the untrained networks around a face model.

    Args:
        settings: settings of the networks.
        face_model: face model with the numbers of modes of theta.
        perceptual: whether to build the copy of the warm-up encoder, which training makes when the warm-up ends;
            ArcFace is built in any case.
        recogniser: state dict of the perceptual network if it is a recogniser, which tells its depth; None: IResNet-50
            for `arcface`, none for other kinds.

    Raises:
        ConfigError: the face model has other numbers of modes than theta, or a network cannot take images of the
            camera's size.
        CheckpointError: the recogniser's state dict is of another network.
    """
    if (face_model.n_identity, face_model.n_expression, face_model.n_albedo) != THETA_MODES:
        raise ConfigError(
            f"the face model has {face_model.n_identity} + {face_model.n_expression} + {face_model.n_albedo} modes, "
            "theta has 80 + 64 + 80; truncate the face model, or build it with 80 + 64 + 80"
        )
    encoder = build_encoder(settings)
    segmenter = UNet(**settings.segmenter.model_dump())
    if settings.camera.image_size % segmenter.stride:
        raise ConfigError(
            f"image_size {settings.camera.image_size} is not divisible by the UNet's stride {segmenter.stride}; "
            "choose another image_size, or fewer levels"
        )
    focus = Focus(FaceAutoencoder(encoder, Renderer(face_model, settings.camera)), segmenter, settings.scales)
    kind = settings.perceptual.kind
    if kind != "warmup_encoder" and recogniser is not None:
        focus.perceptual = rebuild_recogniser(kind, recogniser)
    elif kind == "arcface":
        focus.perceptual = ArcFacePerceptual(IResNet())
    elif kind == "warmup_encoder" and perceptual:
        focus.perceptual = EncoderPerceptual(build_encoder(settings))
    return focus


def build_encoder(settings: ModelSettings) -> Encoder:
    """Build the encoder of the settings. Its head is zero-initialised, so it predicts the mean face."""
    if settings.encoder.kind == "small":
        return SmallEncoder(settings.camera.image_size, width=settings.encoder.width, scales=settings.scales)
    return RESNETS[settings.encoder.kind](scales=settings.scales)


def save(folder: Path, model: Model, *, half: bool = False, copy_face: bool = True) -> None:
    """Write a model folder.

    Args:
        folder: folder to write.
        model: model to write.
        half: store weights and bases as float16; means stay float32, as they are tens of mm.
        copy_face: store the arrays of the face model also if the package ships the same face model. A folder without
            them is smaller, and needs a copy of the package that has the face model.

    Raises:
        StorageError: the disk refuses to write.
        ModelError: a weight is out of the range of float16.
    """
    focus, face = model.focus, model.focus.face_model
    tensors = {name: getattr(focus, name).state_dict() for name in NETWORKS if getattr(focus, name) is not None}
    tensors["face"] = face.tensors()
    if half:
        tensors = {name: {key: to_half(key, value) for key, value in state.items()} for name, state in tensors.items()}
        face = face.round_to_half()  # as it will be loaded
    described, shipped = face.description(), None if copy_face else shipped_name(face)
    if shipped is not None:
        del tensors["face"]
        described[SHIPPED_FACE] = shipped
    info = {
        "format": FORMAT,
        "version": model.version,
        "settings": model.settings.model_dump(mode="json"),
        "refine": model.refine.model_dump(mode="json"),
        "face": described,
        "lineage": model.lineage.model_dump(mode="json"),
    }
    if isinstance(focus.perceptual, ArcFacePerceptual):
        info["perceptual"] = {"architecture": focus.perceptual.network.architecture}
    if model.appearance is not None:
        tensors[checkpoint.APPEARANCE] = model.appearance.tensors()
        info["photo"] = model.photo.model_dump(mode="json")
    checkpoint.save_model(folder, tensors, info, model.quality)


def load(folder: Path | None = None) -> Model:
    """Verify every file of a model folder and read it.

    Args:
        folder: model folder; None: the default model of the package.

    Returns:
        The model, with frozen networks in eval mode, on the CPU, as float32.

    Raises:
        CheckpointError: a file is missing, altered or not of this format, or a weight is not finite.
        FaceModelError: the arrays of the face model do not fit together.
        ModelError: this copy of the package lacks what is not in the folder, as in a job: the shipped models, or the
            face model that the folder refers to.
    """
    folder = find_model(None) if folder is None else Path(folder)
    if folder in SHIPPED_MODELS.values() and not folder.exists():
        raise ModelError(
            "this copy of focus-ray has no shipped models (jobs are sent without them); give a model folder, or set "
            "start_from=FOLDER if training starts from a model"
        )
    if str(folder) == folder.name and not folder.exists():
        names = ", ".join(SHIPPED_MODELS)
        raise CheckpointError(
            f"no model at {folder}; give the path of a model folder, hf://owner/name, or a name: {names}"
        )
    stored = checkpoint.load_model(folder)
    networks, info = stored.networks, stored.info
    if info.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {info.get('format')!r}, this version reads {FORMAT}; use the version that wrote it"
        )
    check_finite(folder, networks)
    face = read_face(folder, stored)
    networks.pop("face", None)
    try:
        settings = ModelSettings.model_validate(info["settings"])
        refine = RefineSettings.model_validate(info["refine"])
        appearance = (
            AppearancePrior.from_tensors(networks.pop(checkpoint.APPEARANCE))
            if checkpoint.APPEARANCE in networks
            else None
        )
        photo = PhotoFitSettings.model_validate(info.get("photo", {}))
        focus = build(settings, face, recogniser=networks.get("perceptual"))
        for name in NETWORKS:
            if name in networks:
                getattr(focus, name).load_state_dict(networks[name])
            elif name == "perceptual":
                focus.perceptual = None
            else:
                raise KeyError(name)
        lineage = read_lineage(info)
        version = str(info["version"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ConfigError, CheckpointError) as error:
        reason = summarize_error(error)
        raise CheckpointError(f"{folder} is not a model of this version ({reason}); use another copy") from None
    focus = focus.eval().requires_grad_(False)
    return Model(focus, settings, refine, version, stored.quality, appearance, photo, lineage)


def describe(folder: Path, stored: checkpoint.StoredModel) -> dict[str, Any]:
    """Return model.json with the digest of the face model as loaded.

    Priors refer to that digest; the one in the file may be of the bases before they were rounded to half precision.

    Args:
        folder: model folder, for messages.
        stored: content of the folder.

    Raises:
        FaceModelError: the arrays of the face model do not fit together.
        CheckpointError: the description of the face model is missing or invalid.
        ModelError: this copy of the package lacks the face model that the folder refers to.
    """
    if "face" not in stored.networks and "face" not in stored.info:
        return stored.info
    loaded = read_face(folder, stored)
    return {**stored.info, "face": {**stored.info["face"], "digest": loaded.digest}}


def read_face(folder: Path, stored: checkpoint.StoredModel) -> MorphableModel:
    """Build the face model of a model folder, from its own arrays or, if it refers to it, from the package.

    Args:
        folder: model folder, for messages.
        stored: content of the folder.

    Raises:
        FaceModelError: the arrays of the face model do not fit together.
        CheckpointError: the description of the face model is missing or invalid, or the package ships another one.
        ModelError: this copy of the package lacks the face model that the folder refers to.
    """
    described = stored.info.get("face")
    if not isinstance(described, dict):
        raise CheckpointError(f"{folder}/model.json: entry `face` is missing or invalid; use another copy")
    if "face" in stored.networks:
        try:
            return MorphableModel.from_tensors(stored.networks["face"], described)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = summarize_error(error)
            raise CheckpointError(f"{folder}: the face model is malformed ({reason}); use another copy") from None
    name, digest = described.get(SHIPPED_FACE), described.get("digest")
    if not isinstance(name, str) or not isinstance(digest, str):
        raise CheckpointError(f"{folder} has no face.safetensors and refers to no face model; use another copy")
    return load_shipped(name, digest)


def load_from(location: str) -> Model:
    """Load a model from a folder, an object store or a Hugging Face Hub.

    Args:
        location: model folder, s3://bucket/prefix/RUN/model, or hf://owner/name[@revision].

    Raises:
        CheckpointError: a file is missing, altered or not of this format, or a weight is not finite.
        FaceModelError: the arrays of the face model do not fit together.
        ModelError: the location is the shipped folder and this copy of the package lacks it.
        ConfigError: the URI cannot be used, or huggingface_hub is not installed.
        StorageError: the store fails to read, or the hub refuses access or cannot be reached.
    """
    if "://" not in location:
        return load(Path(location))
    if location.startswith(HUB_PREFIX):
        return load(fetch_from_hub(location))
    parent, _, name = location.rstrip("/").rpartition("/")
    with artifact_store.open_folder(open_store(parent), name, checkpoint.MODEL) as folder:
        return load(folder)


def check_finite(folder: Path, networks: dict[str, dict[str, torch.Tensor]]) -> None:
    """Check that all weights are finite: with NaN or infinite ones a network gives no usable output.

    Args:
        folder: model folder, for messages.
        networks: tensors by network and name.

    Raises:
        CheckpointError: a weight is NaN or infinite.
    """
    for network, tensors in networks.items():
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise CheckpointError(f"{folder}: {network} has values in {name} that are not finite; use another copy")


def summarize_error(error: Exception) -> str:
    """Summarize an error in one line for a message: for a setting, the key and its problem."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0]


def to_half(name: str, value: torch.Tensor) -> torch.Tensor:
    """Convert a tensor to float16, except means, coordinates and integers, which need their precision.

    Args:
        name: name of the tensor, which decides whether it is converted.
        value: any tensor.

    Returns:
        The tensor as float16, or unchanged.

    Raises:
        ModelError: a value is out of the range of float16.
    """
    keeps = not value.is_floating_point() or name in (
        "mean",
        "mean_albedo",
        "uv",
        "landmark_barycentric",
        "named_expressions",
    )
    return value if keeps else checkpoint.as_half(name, value)
