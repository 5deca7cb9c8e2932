"""Findings about a submission: severity, location, problem, advice."""

from typing import Literal, NamedTuple

from focus_ray.errors import DataError

Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """An error makes the result wrong, invalid or impossible to compute; a warning may."""

    severity: Severity
    item: str
    problem: str
    advice: str


def finding_from_error(item: str, error: DataError) -> Finding:
    """Of an input that cannot be read: errors say what is wrong and, behind the last semicolon, what to do."""
    # For two columns of a table; nothing is decided by it. A message without a semicolon is what is wrong.
    what, _, what_to_do = str(error).rpartition("; ")
    return Finding("error", item, what or what_to_do, what_to_do if what else "correct the file")
