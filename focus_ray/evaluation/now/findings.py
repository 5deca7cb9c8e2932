"""Findings about a submission: severity, location, problem, advice."""

from typing import Literal, NamedTuple

from focus_ray.errors import DataError

Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """Problem of a submission: errors make the result wrong, invalid or impossible to compute; warnings may."""

    severity: Severity
    item: str
    problem: str
    advice: str


def finding_from_error(item: str, error: DataError) -> Finding:
    """Return the finding of an unreadable input: the error's last semicolon separates problem and advice."""
    # For display only. A message without a semicolon becomes the problem.
    what, _, what_to_do = str(error).rpartition("; ")
    return Finding("error", item, what or what_to_do, what_to_do if what else "correct the file")
