"""Configuration of a prior, one frozen tree."""

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from focus_ray.config import Seed, resolve_settings
from focus_ray.data.rendered import RenderedConfig
from focus_ray.data.synthetic import SyntheticConfig
from focus_ray.focus.misfit import Reading
from focus_ray.priors.measure import BATCH
from focus_ray.settings import Settings


class PriorData(Settings):
    """The faces that make the prior: the laws that R_syn was trained on, under the key that its run has them."""

    rendered: RenderedConfig = RenderedConfig()


class GateSettings(Settings):
    """The faces of the synthetic world that judge the prior with the model that it is meant for."""

    faces: int = Field(default=2000, ge=2)
    world: SyntheticConfig = SyntheticConfig()
    world_modes: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (120, 80, 120)


class PriorConfig(Settings):
    """Configuration of a build. The same configuration gives the same prior, bit for bit, for any number of tasks."""

    model: str  # R_syn: a folder, or s3://bucket/prefix/RUN/model
    applied_to: str | None = None  # the model that the prior is meant for
    n: int = Field(default=20_000, ge=2)
    heldout: int = Field(default=20_000, ge=2)  # further faces, which judge it
    shard_size: PositiveInt = 500
    seed: Seed = 0
    refine_steps: NonNegativeInt = 0
    aligned: bool = False  # which reading is subtracted: see focus.misfit
    target_mm: PositiveFloat | None = None  # stop when the prior's standard error is below
    data: PriorData = PriorData()
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _check_shard_size(self) -> "PriorConfig":
        if self.shard_size > BATCH and self.shard_size % BATCH:
            raise ValueError(f"shard_size {self.shard_size} is not made of whole batches; take a multiple of {BATCH}")
        return self

    @property
    def reading(self) -> Reading:
        """Name of the reading that is subtracted."""
        return "posed_aligned" if self.aligned else "posed"


def build_prior_config(file: Path | None, assignments: list[str], overrides: dict[str, Any]) -> PriorConfig:
    """The defaults, then the keys of a YAML file, the `a.b=v` assignments, and `overrides` that are not None.

    Raises ConfigError for an unknown key or a value that does not fit.
    """
    defaults = PriorConfig(model=overrides["model"])
    return resolve_settings(defaults, "focus_ray/priors/prior_config.py", file, assignments, overrides)
