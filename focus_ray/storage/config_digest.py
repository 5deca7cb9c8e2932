"""Digest of a run's configuration; checkpoints and tracked runs are matched by it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Keys of `data` that are younger than checkpoints, and the value at which a run is what it was without them.
_ADDED_KEYS = {"heldout_share": 0.0, "cache_mb": 1000}


def config_digest(tree: Mapping[str, Any]) -> str:
    """sha256 of a configuration as config.json holds it, later keys that change nothing left out."""
    data = tree.get("data")
    if isinstance(data, dict):
        kept = {key: value for key, value in data.items() if (key, value) not in _ADDED_KEYS.items()}
        tree = {**tree, "data": kept}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
