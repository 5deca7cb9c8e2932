"""The endpoint for Ray Serve's own commands: serve run serve/config.yaml, serve deploy serve/config.yaml.

Its arguments are the settings of focus_ray.serving.settings. `focus-ray serve` does the same on this machine, and puts
admission into the proxies besides.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def application(arguments: dict[str, Any]) -> Any:
    """The application of these settings, its model pinned and checked."""
    from focus_ray.serving.launch import application_from_args

    return application_from_args(arguments)
