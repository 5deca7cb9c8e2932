"""Search file: parameters, rules and budget, and the run configurations of its trials."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_serializer, model_validator

from focus_ray import presets
from focus_ray.config import Cadence, RunConfig, Seed, override, parse_assignment, read_yaml
from focus_ray.errors import ConfigError
from focus_ray.focus.schedule import Schedule
from focus_ray.model import summarize_error
from focus_ray.settings import Settings
from focus_ray.tracking.mlflow_keys import iter_leaves
from focus_ray.training.assemble import build_focus, fitted_face
from focus_ray.tuning.alternation import PARAMETERS
from focus_ray.tuning.objectives import LABELLED, OBJECTIVES, PHOTOGRAPHS
from focus_ray.tuning.photographs import PhotographSettings
from focus_ray.tuning.space import Parameter, Point, Space

SharedPhases = Literal["nothing", "warmup", "pretrained"]
# For each choice of shared phases: the keys of their lengths in the schedule, and the parts of a configuration that
# they read.
_SHARED_PHASES: Mapping[SharedPhases, tuple[str, ...]] = {
    "nothing": (),
    "warmup": ("warmup_steps",),
    "pretrained": ("warmup_steps", "init_steps", "pretrain_seg_steps"),
}
_SHARED_KEYS: Mapping[SharedPhases, tuple[str, ...]] = {
    "nothing": (),
    "warmup": ("warmup", "optimizers.warmup"),
    "pretrained": (
        "warmup",
        "initialise",
        "optimizers.warmup",
        "optimizers.init",
        "optimizers.pretrain_seg",
    ),
}
# Keys of a run that the search derives from its own keys: not allowed in `space` or under `set`.
_RESERVED_KEYS = ("seed", "heldout", "cadence", "start_from", "photos", "landmarks")
_RESERVED_SET_KEYS = (
    *("seed", "heldout.size", "heldout.seed", "heldout.refine", "heldout.unlabelled"),
    *(f"cadence.{name}" for name in Cadence.model_fields if name != "log"),
)
_NEVER = 10**9
_PBT_CHECKPOINTS = 12  # kept for each trial, as starting points of other trials


class SchedulerSettings(Settings):
    """Settings of the scheduler that stops trials early."""

    kind: Literal["none", "asha", "median", "pbt"] = "none"
    grace: float = Field(default=0.2, gt=0, le=1)  # share of a trial before the first decision
    reduction: float = Field(default=3.0, gt=1)  # ASHA: one of this many trials continues
    interval: float = Field(default=0.2, gt=0, le=1)  # PBT: share of a trial between two decisions


class TrialResources(Settings):
    """Resources of a trial."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0, le=1)  # a trial is one process, on one device
    gpu_gigabytes: float | None = Field(default=None, gt=0)  # memory limit; required for a share of a GPU

    @model_validator(mode="after")
    def _check_gpu_share(self) -> "TrialResources":
        if 0 < self.gpus < 1 and self.gpu_gigabytes is None:
            raise ValueError("trials that share a GPU need a memory limit; give gpu_gigabytes")
        return self


class HeldoutFaces(Settings):
    """Held-out faces on which trials are scored; with photographs: pictures with occluders that are made of them."""

    size: int = Field(gt=0)
    seed: Seed


class JudgingSettings(Settings):
    """Settings of the final comparison of best and default, on faces that the search did not use."""

    seeds: tuple[Seed, ...] = (1, 2, 3)  # empty: no comparison
    heldout: HeldoutFaces = HeldoutFaces(size=400, seed=2)
    refine: bool = True


class SearchConfig(Settings):
    """Configuration of a sweep."""

    preset: str = "embedded"
    set: dict[str, Any] = Field(default_factory=dict)  # changes to the preset, for every trial
    steps: float = Field(default=1.0, gt=0, le=1)  # length of each phase of a trial, as a share of the preset's
    shared: SharedPhases = "warmup"  # phases that all trials share: trained once, at full length
    # Model folder trained by those phases. None: it is trained first, from the preset's start model, if that has one.
    start: str | None = None
    photographs: PhotographSettings | None = None  # to train and to judge trials on; None: synthetic faces
    space: dict[str, Parameter] = Field(min_length=1)
    objective: str = "planted"
    searcher: Literal["random", "tpe", "grid"] = "random"
    scheduler: SchedulerSettings = SchedulerSettings()
    trials: int = Field(default=10, gt=0)  # ignored for a grid, which tries every point
    concurrent: int = Field(default=2, gt=0)
    reports: int = Field(default=6, ge=1)  # number of evaluations of a trial
    heldout: HeldoutFaces = HeldoutFaces(size=200, seed=1)
    resources: TrialResources = TrialResources()
    max_failures: int = Field(default=2, ge=0)  # restarts of a trial before it counts as failed
    judging: JudgingSettings = JudgingSettings()
    seed: Seed = 0

    @model_serializer(mode="wrap")
    def _leave_out_later_keys(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out `photographs` if there are none: a sweep from before this key is continued."""
        tree = serialize(self)
        return {key: value for key, value in tree.items() if key != "photographs" or value is not None}

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, name: str) -> str:
        if name not in OBJECTIVES:
            raise ValueError(f"there is no objective {name!r}; choose from {', '.join(OBJECTIVES)}")
        return name

    @model_validator(mode="after")
    def _check_consistency(self) -> "SearchConfig":
        ranges = [name for name, parameter in self.space.items() if parameter.values is None]
        if self.searcher == "grid" and ranges:
            raise ValueError(
                f"searcher grid needs `values`, but {ranges[0]} has a range; give `values`, or another searcher"
            )
        if self.scheduler.kind == "pbt" and self.searcher != "random":
            raise ValueError("scheduler pbt supports no other searcher than random; use searcher: random")
        if self.searcher == "tpe" and all(self.space[name].integer for name in ranges):
            raise ValueError(
                "tpe may draw a point twice if all parameters are integers or `values`; use searcher: grid or random, "
                "or search a range that is not `integer`"
            )
        if self.judging.heldout.seed == self.heldout.seed:
            raise ValueError("judging.heldout.seed equals heldout.seed, whose faces the search uses; give another seed")
        return self

    @property
    def parameters(self) -> Space:
        """The search space as a `Space`."""
        return Space(parameters=self.space)

    @property
    def trial_count(self) -> int:
        """Number of trials of the whole sweep."""
        if self.searcher != "grid":
            return self.trials
        count = 1
        for parameter in self.space.values():
            count *= len(parameter.values or ())
        return count

    def base_config(self) -> RunConfig:
        """Return the preset with the keys of `set` replaced, on the photographs, if there are any.

        Raises:
            ConfigError: the preset or a key does not exist, or a value is not allowed.
            CheckpointError: the model that the preset starts from cannot be read.
        """
        given = self.set.get("start_from")  # in place of the preset's own start model, which need not exist here
        config = presets.load(self.preset, None, None if given is None else [f"start_from={json.dumps(given)}"])
        if self.set:
            config = override(config, self.set, "set")
        if config.start_from is not None:  # trials run in other folders
            config = config.model_copy(update={"start_from": config.start_from.absolute()})
        if self.photographs is None:
            return config
        return config.with_photos(self.photographs.train, self.photographs.train_landmarks)

    def shared_config(self) -> RunConfig:
        """Return the run that trains the phases which all trials share."""
        base = self.base_config()
        after = dict.fromkeys(set(Schedule.model_fields) - set(_SHARED_PHASES[self.shared]), 0)
        heldout = base.heldout.model_copy(update={"size": 0})
        cadence = base.cadence.model_copy(update={"keep": 1, "sheet": _NEVER, "evaluate": _NEVER})
        schedule = base.schedule.model_copy(update=after)
        changes = {"seed": self.seed, "schedule": schedule, "heldout": heldout, "cadence": cadence}
        return base.model_copy(update=changes)

    def trial_config(self, point: Point, start: Path | None) -> RunConfig:
        """Return the run of a trial.

        Args:
            point: values by parameter name; missing parameters keep the preset's value.
            start: model folder that the run begins with; None: that of the preset, or untrained networks.

        Raises:
            ConfigError: a value of the point is not allowed; the message names the parameter.
        """
        return self._run_config(point, start, self.seed, self.heldout, refine=False)

    def retrain_config(self, point: Point, start: Path | None, seed: int) -> RunConfig:
        """Return the run that retrains a point for the final comparison.

        Args:
            point: values by parameter name; missing parameters keep the preset's value.
            start: model folder that the run begins with; None: that of the preset, or untrained networks.
            seed: seed of the run.

        Raises:
            ConfigError: a value of the point is not allowed; the message names the parameter.
        """
        return self._run_config(point, start, seed, self.judging.heldout, refine=self.judging.refine)

    def _run_config(
        self, point: Point, start: Path | None, seed: int, heldout: HeldoutFaces, *, refine: bool
    ) -> RunConfig:
        base = self.base_config()
        schedule = base.schedule.model_copy(update=dict.fromkeys(_SHARED_PHASES[self.shared], 0))
        schedule = schedule.rescale(max(1, round(self.steps * schedule.total_steps)))
        every = max(1, schedule.total_steps // self.reports)
        faces = {"size": heldout.size, "seed": heldout.seed, "refine": refine, "unlabelled": True}
        if self.photographs is not None:  # which tuning.run_scorer scores
            faces = {"size": 0, "refine": False, "unlabelled": False}
        keep = _PBT_CHECKPOINTS if self.scheduler.kind == "pbt" else 1
        cadence = Cadence(log=base.cadence.log, checkpoint=every, evaluate=every, keep=keep, sheet=_NEVER)
        changes = {
            "seed": seed,
            "schedule": schedule,
            "heldout": base.heldout.model_copy(update=faces),
            "cadence": cadence,
            "start_from": start or base.start_from,
        }
        return self.parameters.apply_point(base.model_copy(update=changes), point)

    def check_runnable(self) -> None:
        """Check that every run of the search can start.

        Raises:
            ConfigError: a key, a value or a combination of keys cannot be used.
            CheckpointError: `start` is not a model folder.
        """
        base, preset_config = self.trial_config({}, None), self.base_config()
        self._check_keys()
        for one in (base, preset_config):  # best.yaml applies the best point to the latter
            self.parameters.check_parameters(one)
        self._check_photographs(preset_config)
        if self.start is not None:
            config = self.trial_config({}, Path(self.start))
            build_focus(config, fitted_face(config))

    def _check_photographs(self, preset_config: RunConfig) -> None:
        """Raise ConfigError if the objective or the preset does not fit the photographs, or that there are none."""
        if preset_config.photos is not None and self.objective in LABELLED:
            raise ConfigError(
                f"objective: {self.objective} needs true masks, which photographs do not have; use planted"
            )
        if preset_config.data.planted is not None and preset_config.photos is None:
            raise ConfigError(
                f"preset {self.preset} is trained on photographs; give `photographs`: a folder to train on and one "
                "to judge trials on"
            )
        if self.photographs is None and self.objective in PHOTOGRAPHS:
            raise ConfigError(f"objective: {self.objective} is measured on photographs; give `photographs`")

    def _check_keys(self) -> None:
        """Raise ConfigError for keys that a search sets itself, and for keys of the shared phases."""
        reserved = _RESERVED_SET_KEYS if self.photographs is None else (*_RESERVED_SET_KEYS, "photos", "landmarks")
        for key in (".".join(path) for path, _ in iter_leaves(self.set)):
            if _is_under(key, reserved):
                raise ConfigError(f"set: {key} is set by other keys of the search; leave it out")
        for key in (key for name, one in self.space.items() for key in one.paths(name)):
            if _is_under(key, _RESERVED_KEYS):
                raise ConfigError(f"space: {key} is set by other keys of the search; search another key")
            if _is_under(key, ("schedule",)):
                raise ConfigError(f"space: {key} would make trials differ in length; search {' or '.join(PARAMETERS)}")
            if _is_under(key, ("model", "face")):
                raise ConfigError(
                    f"space: {key} would give trials different networks; use `set`, or search another key"
                )
            if _is_under(key, _SHARED_KEYS[self.shared]):
                raise ConfigError(
                    f"space: {key} changes the phases that all trials share (shared: {self.shared}); "
                    "set shared: nothing, or search another key"
                )


def _is_under(key: str, parts: Iterable[str]) -> bool:
    """Whether a dotted key is one of `parts` or below one."""
    return any(key == part or key.startswith(f"{part}.") for part in parts)


def read_search(
    path: Path, assignments: tuple[str, ...] = (), photographs: Mapping[str, str] | None = None
) -> SearchConfig:
    """Read and check the search of a YAML file.

    Keys of a nested part that the file does not give keep that part's default.

    Args:
        path: search file.
        assignments: `a.b=v` texts that replace keys of the file.
        photographs: values that replace keys of the file's `photographs`.

    Raises:
        ConfigError: the file, a key, a value or a combination of keys cannot be used.
        CheckpointError: `start` is not a model folder.
    """
    tree = deep_merge(nested_defaults(), read_yaml(path))
    for text in assignments:
        tree = deep_merge(tree, parse_assignment(text))
    if photographs:
        tree = deep_merge(tree, {"photographs": dict(photographs)})
    try:
        search = SearchConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {summarize_error(error)}; see docs/tuning.md for all keys") from None
    try:
        search.check_runnable()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return search


def nested_defaults() -> dict[str, Any]:
    """Return the defaults of the nested parts of a search, as JSON values by name."""
    defaults = {name: field.default for name, field in SearchConfig.model_fields.items()}
    return {name: part.model_dump(mode="json") for name, part in defaults.items() if isinstance(part, Settings)}


def deep_merge(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `tree` with the values of `changes` merged in, nested dicts key by key; nothing is validated."""
    result = dict(tree)
    for key, value in changes.items():
        known = result.get(key)
        result[key] = deep_merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
