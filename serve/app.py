"""The endpoint for Ray Serve's commands: serve run serve/config.yaml, serve deploy serve/config.yaml.

Its arguments are the settings of focus_ray.serving.settings. `focus-ray serve` deploys the same application on this
machine, and also runs admission in the proxies.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def application(arguments: dict[str, Any]) -> Any:
    """Build the application for these settings; its model is resolved to one version and checked."""
    from focus_ray.serving.launch import application_from_args

    return application_from_args(arguments)
