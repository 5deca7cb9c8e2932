"""Digest of a run's configuration; checkpoints and tracked runs are matched by it."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Keys that were added after checkpoints existed, with the value at which they change nothing. A new key of the
# configuration needs a line here: runs of earlier versions, whose configuration lacks it, can then be resumed.
_ADDED_KEYS = {
    "data.heldout_share": 0.0,
    "data.cache_mb": 1000,
    "data.rendered.laws.named_share": 0.0,
    "data.shard_cache_mb": 20_000,
    "data.planted": None,
    "data.planted.weights": {},
    "em.keep_fits": False,
    "em.reconstruction.lambda_teacher": 0.0,
    "em.segmentation.eta_planted": 0.0,
    "em.segmentation.planted_explained": 3.0,
    "em.segmentation.planted_outlier_weight": 2.0,
    "em.teacher": None,
    "face.file": None,
    "initialise.weights.lambda_teacher": 0.0,
    "rasterizer": "auto",
    "warmup.laws.named_share": 0.0,
}


def config_digest(tree: Mapping[str, Any]) -> str:
    """Compute the SHA-256 (hex) of the content of config.json, without later keys that change nothing."""
    kept = copy.deepcopy(dict(tree))
    for path, neutral in _ADDED_KEYS.items():
        *parents, key = path.split(".")
        node: Any = kept
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and key in node and node[key] == neutral:
            del node[key]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
