"""Loads the settings of an endpoint from a file, assignments and options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from focus_ray.config import merge, resolve_settings
from focus_ray.errors import ConfigError
from focus_ray.model import summarize_error
from focus_ray.serving.keys import read_keys
from focus_ray.serving.settings import ServingSettings


def load_settings(
    file: Path | None, assignments: Sequence[str], options: Mapping[str, Any], keys: Path | None = None
) -> ServingSettings:
    """Load settings: defaults, then the YAML file, assignments, options and API keys; later ones override.

    Args:
        file: YAML file of settings.
        assignments: `a.b=value` each.
        options: nested like the settings; None values are ignored.
        keys: key file; if given, keys are required.

    Raises:
        ConfigError: a file cannot be read, a key or value is not valid, or the key file has no keys.
    """
    settings = resolve_settings(ServingSettings(), "focus_ray/serving/settings.py", file, assignments, {})
    tree = merge(settings.model_dump(mode="json"), _drop_none(options), "options")
    if keys is not None:
        tree["http"] |= {"keys": read_keys(keys), "keys_required": True}
    try:
        return ServingSettings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"options: {summarize_error(error)}; see focus_ray/serving/settings.py") from None


def _drop_none(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree without None values."""
    present = {key: _drop_none(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    return {key: value for key, value in present.items() if value is not None}
