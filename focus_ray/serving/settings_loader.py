"""Loads the settings of an endpoint from a file, assignments and options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focus_ray.config import merge, resolve_settings
from focus_ray.serving.keys import read_keys
from focus_ray.serving.settings import ServingSettings


def load_settings(
    file: Path | None, assignments: Sequence[str], options: Mapping[str, Any], keys: Path | None = None
) -> ServingSettings:
    """The defaults, then the keys of a YAML file, the `a.b=v` assignments, `options` that are not None, and API keys.

    `options` is nested as the settings are. Raises ConfigError for what does not fit and for a file of keys with none.
    """
    settings = resolve_settings(ServingSettings(), "focus_ray/serving/settings.py", file, assignments, {})
    tree = merge(settings.model_dump(mode="json"), _drop_none(options), "options")
    if keys is not None:
        tree["http"] |= {"keys": read_keys(keys), "keys_required": True}
    return ServingSettings.model_validate(tree)


def _drop_none(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree without what is None."""
    present = {key: _drop_none(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    return {key: value for key, value in present.items() if value is not None}
