"""JSON trees in MLflow's terms: parameters by dotted key, figures by path, within its limits."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Limits of MLflow's stores (mlflow.utils.validation).
MAX_KEY = 250
MAX_PARAMETER = 6000
MAX_TAG = 5000  # servers before 3 take no more

_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9_. /-]")
_DOTS = (".", "..")


class NumericLeaves(NamedTuple):
    """The finite numbers of a tree by path, and how many numbers were NaN or infinite."""

    figures: dict[str, float]
    nonfinite: int


def flatten_params(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as parameters: nested keys joined by dots, values as text (JSON unless they are text already).

    A value beyond MLflow's limit is cut, and ends with an ellipsis.
    """
    return {safe_key(".".join(path)): param_text(value) for path, value in iter_leaves(config)}


def param_text(value: Any) -> str:
    """A value as text that MLflow takes. An empty string is written with its quotes: some stores keep no empty text."""
    text = value if isinstance(value, str) and value else json.dumps(value)
    storable = text.encode(errors="replace").decode().replace("\0", "?")
    return truncate(storable, MAX_PARAMETER)


def numeric_leaves(tree: Mapping[str, Any], prefix: str = "") -> NumericLeaves:
    """The numbers in nested objects, keys joined by '/'. Text, truth values, lists and null are no numbers."""
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
    except OverflowError:  # a whole number beyond any float
        return math.inf


def safe_key(key: str) -> str:
    """The key itself where MLflow takes it everywhere, else one that is as alike as can be and stays unique.

    MLflow keeps keys as paths, and its databases differ in the letters they know: those of ASCII, digits, '_.- /' stay.
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
    """The text, or its beginning and an ellipsis where it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."


def iter_leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no object, or an empty one, with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from iter_leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value
