"""Reads a run's history: step records, and a figure by its dotted path."""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from focus_ray.storage.json_lines import read_json_lines


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of history.jsonl up to the first that is no record of a step: a killed run may leave a torn one."""
    return list(takewhile(lambda line: type(line.get("step")) is int, read_json_lines(path)))


def look_up(tree: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None."""
    node: Any = tree
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
