"""Reads a run's history: step records, and values by their dotted paths."""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from focus_ray.storage.json_lines import read_json_lines


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read history.jsonl up to the first line that is not a step record: a killed run may leave an incomplete one."""
    return list(takewhile(lambda line: type(line.get("step")) is int, read_json_lines(path)))


def look_up(tree: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None if there is none."""
    node: Any = tree
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
