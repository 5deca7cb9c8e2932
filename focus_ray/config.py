"""Configuration of a training run, one frozen tree: every number is here or in the part that uses it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, NonNegativeInt, ValidationError, field_validator

from focus_ray.data.composites.planted import PlantedConfig
from focus_ray.data.cutout import CutKind
from focus_ray.data.rendered import RenderedConfig
from focus_ray.data.synthetic import SyntheticConfig
from focus_ray.errors import ConfigError
from focus_ray.face_models.by_name import SHIPPED_FACES
from focus_ray.focus.em import EmSettings
from focus_ray.focus.guard import GuardSettings
from focus_ray.focus.initialise import InitialiseSettings, WarmupSettings
from focus_ray.focus.parameters import THETA_MODES
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render.backends import AUTO, RasterizerName
from focus_ray.focus.schedule import OptimizerSettings, Schedule
from focus_ray.model import ModelSettings, summarize_error
from focus_ray.settings import Settings
from focus_ray.storage.config_digest import config_digest

S = TypeVar("S", bound=Settings)

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # range that torch's and numpy's generators both accept


class FaceSettings(Settings):
    """The face model that is fitted: the parametric face at one of its resolutions, or an imported one."""

    # An imported face: a name of face_models.by_name or a file; None: the parametric face. Synthetic images then show
    # the imported face with the modes that it has, and resolution and world_modes have no effect.
    file: str | None = None
    resolution: Literal["small", "full", "fine"] = "full"
    # Modes of the synthetic world beyond the 80, 64 and 80 of theta: appearance that the fitted model cannot express.
    world_modes: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (120, 80, 120)

    @field_validator("world_modes")
    @classmethod
    def _check_modes(cls, modes: tuple[int, int, int]) -> tuple[int, int, int]:
        if any(few < needed for few, needed in zip(modes, THETA_MODES, strict=True)):
            raise ValueError(f"the world has {modes} modes; give at least the {THETA_MODES} of theta")
        return modes


class Optimizers(Settings):
    """Optimiser of each phase, by the name of the phase."""

    warmup: OptimizerSettings
    init: OptimizerSettings
    pretrain_seg: OptimizerSettings
    em_seg: OptimizerSettings
    em_face: OptimizerSettings


class DataSettings(Settings):
    """Training data: faces made on the fly, unless a folder of photographs is given."""

    source: Literal["synthetic", "rendered"] = "synthetic"  # the synthetic world, or renders of the fitted face
    size: int = Field(default=8000, gt=0)  # faces of one epoch
    synthetic: SyntheticConfig = SyntheticConfig()
    rendered: RenderedConfig = RenderedConfig()
    cut: CutKind | None = None  # for synthetic faces with true masks: how parts of them are covered
    augment: bool = True  # photographs: flip, shift, scale, rotation (released code)
    planted: PlantedConfig | None = None  # photographs: occluders are pasted into them, `size` pictures in an epoch
    # Share of photographs that are scored and not trained on (data.photo_split); 0, as in runs from before this key
    # existed, scores those trained on.
    heldout_share: float = Field(default=0.0, ge=0, lt=1)
    cache_mb: float = Field(default=1000.0, ge=0)  # memory of each process for photographs, 1.35 MB each at 224 px
    shard_cache_mb: float = Field(default=20_000.0, gt=0)  # local disk for the shards of a prepared store in a bucket


class HeldoutSettings(Settings):
    """The held-out faces: identities and occluder families that training never sees."""

    size: int = Field(default=400, ge=0)
    seed: Seed = 0  # the same faces for every seed of training
    batch_size: int = Field(default=50, gt=0)
    refine: bool = True  # score the refined variants too, at the end
    unlabelled: bool = False  # add figures that need no annotation of occlusion (training.unlabelled)


class Cadence(Settings):
    """Intervals in steps of logs, checkpoints, evaluations and sheets, and which checkpoints are kept."""

    log: int = Field(default=10, gt=0)
    checkpoint: int = Field(default=200, gt=0)
    keep: int = Field(default=3, gt=0)  # number of newest checkpoints; the best one is kept too
    best: str = "heldout.occluded.f1"  # metric of the evaluations that selects the best checkpoint
    best_is: Literal["highest", "lowest"] = "highest"
    evaluate: int = Field(default=500, gt=0)
    sheet: int = Field(default=500, gt=0)


class ComputeSettings(Settings):
    """How a step is computed, for any number of workers that share its batch."""

    # Batch norm over the global batch. Otherwise each worker normalises its own part: faster over slow networks, but
    # the trained model then depends on the number of workers.
    synchronise_batchnorm: bool = True
    accumulate: int = Field(default=1, gt=0)  # parts of a worker's share, one in memory at a time
    precision: Literal["float32", "mixed"] = "float32"  # mixed: networks in bfloat16 where the device computes in it


class RunConfig(Settings):
    """Configuration of a training run. The same config and seed on one machine give bit-identical parameters."""

    preset: str
    seed: Seed = 0
    batch_size: int = Field(gt=0)
    face: FaceSettings
    model: ModelSettings
    schedule: Schedule
    optimizers: Optimizers
    warmup: WarmupSettings = WarmupSettings()
    initialise: InitialiseSettings = InitialiseSettings()
    em: EmSettings = EmSettings()
    refine: RefineSettings = RefineSettings()
    guard: GuardSettings = GuardSettings()
    data: DataSettings = DataSettings()
    heldout: HeldoutSettings = HeldoutSettings()
    cadence: Cadence = Cadence()
    compute: ComputeSettings = ComputeSettings()
    rasterizer: RasterizerName = AUTO  # of the fitted face (docs/rasterizers.md); synthetic faces are drawn by auto
    start_from: Path | None = None  # model folder with the initial weights of the networks
    photos: str | None = None  # a folder or s3://bucket/prefix of photographs in place of synthetic faces
    landmarks: str | None = None  # their 68-landmark CSV

    def with_photos(self, photos: str, landmarks: str | None) -> "RunConfig":
        """Return the same run on photographs; local paths become absolute, as workers run in other folders.

        Args:
            photos: folder, or s3://bucket/prefix.
            landmarks: 68-landmark CSV of the photographs, if there is one.
        """
        given = {"photos": photos, "landmarks": landmarks}
        return self.model_copy(update={name: place and absolute_location(place) for name, place in given.items()})

    def with_face(self, name_or_file: str) -> "RunConfig":
        """Return the same run with an imported face model; a local path becomes absolute.

        Args:
            name_or_file: a name of face_models.by_name, or a file.
        """
        file = name_or_file if name_or_file in SHIPPED_FACES else absolute_location(name_or_file)
        return self.model_copy(update={"face": self.face.model_copy(update={"file": file})})

    @property
    def digest(self) -> str:
        """sha256 of the resolved tree."""
        return config_digest(self.model_dump(mode="json"))


def absolute_location(location: str) -> str:
    """Return the absolute path of a local location; a URI (with ://) is returned unchanged."""
    return location if "://" in location else str(Path(location).absolute())


def override(config: RunConfig, tree: dict[str, Any], origin: str) -> RunConfig:
    """Return `config` with some keys replaced.

    Args:
        config: configuration to start from.
        tree: new values, as nested dicts.
        origin: where the values come from, for messages.

    Raises:
        ConfigError: a key does not exist, a value is not allowed, or `tree` names another preset; the message names
            `origin` and the key.
    """
    check_preset(config.preset, tree, origin)
    merged = merge(config.model_dump(mode="json"), tree, origin)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{origin}: {key}: {first['msg']}; see focus_ray/config.py") from None


def check_preset(preset: str, tree: dict[str, Any], origin: str) -> None:
    """Check that the keys of a tree are meant for a preset.

    Args:
        preset: preset whose keys are replaced.
        tree: new values, with or without the key `preset`.
        origin: where the values come from, for messages.

    Raises:
        ConfigError: `tree` names another preset.
    """
    if tree.get("preset", preset) != preset:
        raise ConfigError(
            f"{origin}: the preset is {preset!r}, not {tree['preset']!r}; leave the key out, or start with that preset"
        )


def resolve_settings(
    defaults: S, module: str, file: Path | None, assignments: Sequence[str], overrides: Mapping[str, Any]
) -> S:
    """Build settings in layers, each replacing keys of the one before.

    Args:
        defaults: first layer.
        module: source file that lists the keys, for messages.
        file: YAML file, the second layer.
        assignments: `a.b=v` texts, the third layer.
        overrides: values by top-level key, the last layer; None leaves a key unchanged.

    Raises:
        ConfigError: the file cannot be read, a key does not exist, or a value is not allowed.
    """
    tree = defaults.model_dump(mode="json")
    layers = [] if file is None else [(str(file), read_yaml(file))]
    layers += [(f"assignment {text}", parse_assignment(text)) for text in assignments]
    for origin, keys in layers:
        tree = merge(tree, keys, origin)
    tree |= {key: value for key, value in overrides.items() if value is not None}
    try:
        return type(defaults).model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{summarize_error(error)}; see {module}") from None


def merge(base: dict[str, Any], changes: dict[str, Any], origin: str, path: str = "") -> dict[str, Any]:
    """Return `base` with the values of `changes`, nested dicts key by key.

    Args:
        base: all keys, with their present values.
        changes: new values.
        origin: where the new values come from, for messages.
        path: dotted prefix of the keys, for messages.

    Raises:
        ConfigError: `base` does not have a key of `changes`.
    """
    result = dict(base)
    for key, value in changes.items():
        name = f"{path}{key}"
        if key not in base:
            known = ", ".join(sorted(base))
            raise ConfigError(f"{origin}: there is no key {name!r}; choose one of {known}")
        nested = isinstance(value, dict) and isinstance(base[key], dict)
        result[key] = merge(base[key], value, origin, f"{name}.") if nested else value
    return result


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}; give a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}; correct it") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply; write the keys of a configuration") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} does not contain a mapping of keys to values; write `key: value` lines")
    return tree


def parse_assignment(text: str) -> dict[str, Any]:
    """Parse `a.b=v` into {"a": {"b": v}}, with v read as YAML.

    Raises:
        ConfigError: the text has another form, or v is not YAML.
    """
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise ConfigError(f"{text!r} does not have the form a.b=value; write for example schedule.cycles=3")
    try:
        tree: Any = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{text!r}: {value!r} is not a YAML value; quote it") from None
    except RecursionError:
        raise ConfigError(f"{name}: the value is nested too deeply; give a simpler one") from None
    return nest_value(name, tree)


def nest_value(name: str, value: Any) -> dict[str, Any]:
    """Nest a value under a dotted name: `a.b` and v give {"a": {"b": v}}."""
    tree: Any = value
    for key in reversed(name.split(".")):
        tree = {key: tree}
    return tree
