"""Search space: parameters, their keys in a run's configuration, and their values."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from focus_ray.config import RunConfig, nest_value, override
from focus_ray.errors import ConfigError
from focus_ray.settings import Settings
from focus_ray.tracking.history import look_up
from focus_ray.tuning import alternation

Value = bool | int | float | str
Point = dict[str, Value]
"""A value for each parameter of a space."""


class Parameter(Settings):
    """One parameter: a list of values, or a range."""

    keys: tuple[str, ...] = ()  # dotted keys of the run's configuration; default: the parameter's name
    values: tuple[Value, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False  # sampled uniformly in the logarithm
    integer: bool = False

    @field_validator("values", mode="before")
    @classmethod
    def _parse_numbers(cls, values: Any) -> Any:
        """Parse numbers that YAML reads as text: 1e-5, which has no point."""
        return [parse_number(value) for value in values] if isinstance(values, list | tuple) else values

    @model_validator(mode="after")
    def _check_values_or_range(self) -> "Parameter":
        if self.values is not None:
            if self.low is not None or self.high is not None or self.log or self.integer:
                raise ValueError("`values` and a range are both given; give `values`, or `low` and `high`")
            if not self.values or len(set(self.values)) != len(self.values):
                raise ValueError("`values` is empty or repeats a value; give at least one value, each once")
        elif self.low is None or self.high is None:
            raise ValueError("values are missing; give `values: [...]`, or `low` and `high`")
        elif not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        elif self.log and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be above 0 for a logarithmic range")
        elif self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"low ({self.low:g}) and high ({self.high:g}) must be integers for an integer range")
        return self

    def paths(self, name: str) -> tuple[str, ...]:
        """Return the dotted keys that a parameter called `name` sets."""
        return self.keys or (name,)

    def ends(self) -> tuple[Value, ...]:
        """Return all values, or the two ends of the range."""
        if self.values is not None:
            return self.values
        assert self.low is not None
        assert self.high is not None
        return (int(self.low), int(self.high)) if self.integer else (self.low, self.high)

    def probes(self) -> tuple[Value, ...]:
        """Return the values to test before any is drawn: of a range also an inner one, as its ends may be whole."""
        if self.values is not None or self.integer:
            return self.ends()
        low, high = (float(end) for end in self.ends())
        return (low, low + (high - low) / math.pi, high)

    def clamp(self, value: Value) -> Value:
        """Clamp a value to the range; a parameter with a list of values returns it unchanged."""
        if self.values is not None:
            return value
        low, high = self.ends()
        return min(max(value, low), high)

    def domain(self, *, grid: bool = False) -> Any:
        """Return the Ray Tune domain of the parameter; `grid` makes a grid search of its values."""
        from ray import tune

        if self.values is not None:
            return tune.grid_search(list(self.values)) if grid else tune.choice(list(self.values))
        low, high = (float(end) for end in self.ends())
        if self.integer:
            draw = tune.lograndint if self.log else tune.randint
            return draw(int(low), int(high) + 1)
        return tune.loguniform(low, high) if self.log else tune.uniform(low, high)


def parse_number(value: Any) -> Any:
    """Convert a text that is a finite number to float; return any other value unchanged."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return value
    return number if math.isfinite(number) else value


class Space(Settings):
    """The search space."""

    parameters: dict[str, Parameter] = Field(min_length=1)

    def check_parameters(self, base: RunConfig) -> None:
        """Check the keys and values of every parameter against a run.

        Raises:
            ConfigError: a parameter sets a key that does not exist, or has a value that is not allowed.
        """
        for name, parameter in self.parameters.items():
            if name == alternation.PERIOD and parameter.values is None:
                raise ConfigError(
                    f"space: {name}: a range contains periods that do not divide the steps of EM; give `values`"
                )
            for value in parameter.probes():
                self.apply_point(base, {name: value})

    def apply_point(self, base: RunConfig, point: Mapping[str, Value]) -> RunConfig:
        """Return `base` with the values of a point.

        Raises:
            ConfigError: a value is not allowed; the message names the parameter.
        """
        config = base
        for name, value in point.items():
            if name in alternation.PARAMETERS:
                continue
            for key in self.parameters[name].paths(name):
                config = override(config, nest_value(key, value), f"space: {name}")
        return alternation.apply_alternation(config, point)

    def default_point(self, base: RunConfig) -> dict[str, Any]:
        """Return the values that the parameters have in `base`."""
        tree = base.model_dump(mode="json")
        return {
            name: alternation.default_value(base, name)
            if name in alternation.PARAMETERS
            else look_up(tree, parameter.paths(name)[0])
            for name, parameter in self.parameters.items()
        }
