"""The alternation as two numbers: how long a cycle of EM is, and which share of it belongs to the segmenter.

The length of EM does not change, so that runs with different alternations cost the same and can take over from each
other at any step.
"""

from collections.abc import Mapping
from typing import Any

from focus_ray.config import RunConfig
from focus_ray.errors import ConfigError
from focus_ray.focus.schedule import Schedule

PERIOD, RATIO = "alternation.period", "alternation.ratio"
PARAMETERS = (PERIOD, RATIO)


def apply_alternation(config: RunConfig, point: Mapping[str, Any]) -> RunConfig:
    """Apply the alternation of a point to a run; a point without one changes nothing.

    Args:
        config: run whose schedule is changed.
        point: values by parameter name; `alternation.period` in steps, `alternation.ratio` the segmenter's share of it.

    Raises:
        ConfigError: the period is outside EM or does not divide it, or the ratio is not between 0 and 1.
    """
    if not any(name in point for name in PARAMETERS):
        return config
    schedule = config.schedule
    length = schedule.total_steps - schedule.em_start
    period = point.get(PERIOD, default_value(config, PERIOD))
    ratio = point.get(RATIO, default_value(config, RATIO))
    if type(period) is not int or not 2 <= period <= length:
        raise ConfigError(
            f"space: {PERIOD}: {period} is not valid; give a number of steps from 2 to {length}, the length of EM"
        )
    if not isinstance(ratio, int | float) or not 0 < ratio < 1:
        raise ConfigError(f"space: {RATIO}: {ratio} is not a share of a cycle; give a number between 0 and 1")
    if length % period:
        raise ConfigError(f"space: {PERIOD}: {period} does not divide the {length} steps of EM; give a divisor")
    segmenter = min(max(1, round(ratio * period)), period - 1)
    changed = {"cycles": length // period, "seg_steps": segmenter, "face_steps": period - segmenter}
    return config.model_copy(update={"schedule": Schedule(**schedule.model_dump() | changed)})


def default_value(config: RunConfig, name: str) -> int | float:
    """Return the period (steps) or ratio that a run's configuration has."""
    period = config.schedule.seg_steps + config.schedule.face_steps
    return period if name == PERIOD else config.schedule.seg_steps / max(period, 1)
