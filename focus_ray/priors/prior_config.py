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
    """Faces that the prior is measured on: the distributions, under the same key, that R_syn was trained on."""

    rendered: RenderedConfig = RenderedConfig()


class GateSettings(Settings):
    """Faces of the synthetic world on which the acceptance test runs the model that the prior is for."""

    faces: int = Field(default=2000, ge=2)
    world: SyntheticConfig = SyntheticConfig()
    world_modes: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (120, 80, 120)


class PriorConfig(Settings):
    """Configuration of a build; equal configurations give the same prior, bit for bit, for any number of tasks."""

    model: str  # R_syn: a folder, or s3://bucket/prefix/RUN/model
    applied_to: str | None = None  # target model, which the prior corrects
    n: int = Field(default=20_000, ge=2)
    heldout: int = Field(default=20_000, ge=2)  # additional faces, to evaluate the prior
    shard_size: PositiveInt = 500
    seed: Seed = 0
    refine_steps: NonNegativeInt = 0
    aligned: bool = False  # whether the aligned reading is subtracted, see focus.misfit
    target_mm: PositiveFloat | None = None  # stop at this standard error of the prior
    data: PriorData = PriorData()
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _check_shard_size(self) -> "PriorConfig":
        if self.shard_size > BATCH and self.shard_size % BATCH:
            raise ValueError(
                f"shard_size {self.shard_size} is not a whole number of batches; give a multiple of {BATCH}"
            )
        return self

    @property
    def reading(self) -> Reading:
        """Name of the reading that is subtracted."""
        return "posed_aligned" if self.aligned else "posed"


def build_prior_config(file: Path | None, assignments: list[str], overrides: dict[str, Any]) -> PriorConfig:
    """Build the configuration from defaults, a YAML file, assignments and overrides, in this order.

    Args:
        file: YAML file with keys of the configuration.
        assignments: `a.b=v` texts.
        overrides: values by key, `model` among them; None values are ignored.

    Raises:
        ConfigError: a key is unknown or a value does not fit.
    """
    defaults = PriorConfig(model=overrides["model"])
    return resolve_settings(defaults, "focus_ray/priors/prior_config.py", file, assignments, overrides)
