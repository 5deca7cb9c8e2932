"""Configuration of a benchmark, one frozen tree."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from focus_ray.config import Seed, resolve_settings
from focus_ray.evaluation.benchmark.method_specs import METHOD_SPECS, TRAINED_MODELS
from focus_ray.settings import Settings

PositiveFraction = Annotated[float, Field(gt=0, le=1)]


class DataSizes(Settings):
    """Number of synthetic pictures that replace each data set of the paper, and their seed."""

    now: int = Field(default=96, ge=16)
    ar: int = Field(default=120, ge=12)  # as many as AR has annotated masks (section 4.1)
    celebahq: int = Field(default=300, ge=12)
    seed: Seed = 0


class BenchmarkConfig(Settings):
    """Configuration of a benchmark; equal configurations give the same figures, for any number of tasks."""

    preset: str = "embedded"
    seeds: tuple[Seed, ...] = (0, 1, 2)
    methods: tuple[str, ...] = tuple(METHOD_SPECS)
    several: tuple[str, ...] = (
        "mofa",
        "pretrained",
        "focus",
        "misfit",
    )  # models trained with every seed; all others are trained with the first seed only
    steps: PositiveFraction = 1.0  # share of the steps of every training phase; below 1 for a trial run
    refine_steps: NonNegativeInt = 50
    prior_faces: PositiveInt = 20_000
    prior_judges: int = Field(default=2000, ge=2)  # additional faces for held-out split and acceptance test
    refined_prior_faces: NonNegativeInt = 0  # 0: no prior for refined fits; each face costs a refinement
    skin_pictures: PositiveInt = 200  # training pictures of the skin-colour model
    data: DataSizes = DataSizes()

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(methods) - set(METHOD_SPECS))
        if unknown or not methods:
            raise ValueError(f"there is no method {', '.join(unknown)}; choose from {', '.join(METHOD_SPECS)}")
        return methods

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError("seeds are missing or repeated; give at least one seed, each once")
        return seeds

    @model_validator(mode="after")
    def _check_several(self) -> "BenchmarkConfig":
        unknown = sorted(set(self.several) - set(TRAINED_MODELS))
        if unknown:
            raise ValueError(f"there is no model {', '.join(unknown)}; choose from {', '.join(TRAINED_MODELS)}")
        return self

    def seeds_for(self, model: str) -> tuple[int, ...]:
        """Return the seeds that a model is trained with."""
        return self.seeds if model in self.several else self.seeds[:1]

    def refinements(self) -> tuple[int, ...]:
        """Return the numbers of refinement steps to score each method with: 0, then `refine_steps` if positive."""
        return (0, self.refine_steps) if self.refine_steps else (0,)


def build_benchmark_config(assignments: list[str], overrides: dict[str, Any]) -> BenchmarkConfig:
    """Build the configuration from defaults, assignments and overrides, in this order.

    Args:
        assignments: `a.b=v` texts.
        overrides: values by key; None values are ignored.

    Raises:
        ConfigError: a key is unknown or a value does not fit.
    """
    return resolve_settings(
        BenchmarkConfig(), "focus_ray/evaluation/benchmark/benchmark_config.py", None, assignments, overrides
    )
