"""Output of commands on stdout: text, or one line of JSON."""

import json
from pathlib import Path
from typing import Any

import typer

MAX_PROBLEMS = 20  # lines


def echo_problems(problems: list[str]) -> None:
    """What is missing or wrong, a line each; of many the first ones."""
    for problem in problems[:MAX_PROBLEMS]:
        typer.echo(f"missing or wrong: {problem}", err=True)
    if len(problems) > MAX_PROBLEMS:
        typer.echo(f"and {len(problems) - MAX_PROBLEMS} more", err=True)


def format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def echo_record(record: Any, as_json: bool) -> None:
    """A record that is all a command says: for people, or as one line."""
    if as_json:
        echo_json(record)
    else:
        typer.echo(json.dumps(record, indent=2))


def echo_json(record: Any) -> None:
    typer.echo(json.dumps(record, allow_nan=False))


def shipped_model() -> Path:
    from focus_ray.model import PRETRAINED_MODEL

    return PRETRAINED_MODEL
