"""Converts JSON trees to MLflow's parameters (by dotted key) and metrics (by path), within its limits."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Limits of MLflow's stores (mlflow.utils.validation).
MAX_KEY = 250
MAX_PARAMETER = 6000
MAX_TAG = 5000  # limit of servers before version 3

_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9_. /-]")
_DOTS = (".", "..")


class NumericLeaves(NamedTuple):
    """The finite numbers of a tree by path, and how many numbers were NaN or infinite."""

    figures: dict[str, float]
    nonfinite: int


def flatten_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Convert a configuration to parameters: nested keys joined by dots, values as text (see `param_text`)."""
    return {safe_key(".".join(path)): param_text(value) for path, value in iter_leaves(config)}


def param_text(value: Any) -> str:
    """Convert a value to a parameter's text: a string as it is, another value as JSON.

    An empty string keeps its JSON quotes, because some stores keep no empty text. Text beyond MLflow's limit is cut and
    ends with an ellipsis.
    """
    text = value if isinstance(value, str) and value else json.dumps(value)
    storable = text.encode(errors="replace").decode().replace("\0", "?")
    return truncate(storable, MAX_PARAMETER)


def numeric_leaves(tree: Mapping[str, Any], prefix: str = "") -> NumericLeaves:
    """Collect the numbers of nested objects, keys joined by '/'; text, booleans, lists and null are skipped."""
    found, nonfinite = {}, 0
    for path, value in iter_leaves(tree):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        number = _to_float(value)
        if math.isfinite(number):
            found[safe_key(prefix + "/".join(path))] = number
        else:
            nonfinite += 1
    return NumericLeaves(found, nonfinite)


def _to_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the range of floats
        return math.inf


def safe_key(key: str) -> str:
    """Return the key if all stores of MLflow accept it, else a similar key that is unique.

    MLflow uses keys as paths, and its databases differ in the characters they support: ASCII letters, digits and
    '_.- /' are kept, others are replaced and a digest is appended.
    """
    parts = (_UNSAFE_CHARACTERS.sub("_", part).strip() for part in key.split("/"))
    safe = "/".join("_" if part in _DOTS or not part else part for part in parts)
    if safe.startswith(".."):
        safe = "_" + safe
    if safe == key and len(key) <= MAX_KEY:
        return key
    mark = "-" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:8]
    return safe[: MAX_KEY - len(mark)].rstrip("/. ") + mark


def truncate(text: str, length: int) -> str:
    """Return the text, cut to `length` characters with an ellipsis if it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."


def iter_leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the keys that lead to each value that is not an object, or is an empty one, and the value."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from iter_leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value
