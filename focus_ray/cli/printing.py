"""Output of commands on stdout: text, or one line of JSON."""

import json
from typing import Any

import typer

MAX_PROBLEMS = 20  # lines
MAX_PICTURE_MESSAGES = 5  # lines


def echo_problems(problems: list[str]) -> None:
    """Print the first MAX_PROBLEMS problems on stderr, a line each, and the number of the others."""
    for problem in problems[:MAX_PROBLEMS]:
        typer.echo(f"missing or wrong: {problem}", err=True)
    if len(problems) > MAX_PROBLEMS:
        typer.echo(f"and {len(problems) - MAX_PROBLEMS} more", err=True)


def format_count(count: int, noun: str) -> str:
    """Format a count with its noun, "1 face" or "2 faces"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def format_counts(counts: dict[str, int]) -> str:
    """Format the counts above 0 as a list: {"no_face": 2} gives "2 no face"."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def echo_record(record: Any, as_json: bool) -> None:
    """Print the record that is a command's only output: indented JSON, or one line of it."""
    if as_json:
        echo_json(record)
    else:
        typer.echo(json.dumps(record, indent=2))


def echo_json(record: Any) -> None:
    """Print a record as one line of JSON."""
    typer.echo(json.dumps(record, allow_nan=False))
