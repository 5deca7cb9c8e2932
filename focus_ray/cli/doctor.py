"""focus-ray doctor."""

import json
from typing import Annotated, Any

import typer

from focus_ray.cli.apps import AsJson, app
from focus_ray.cli.printing import echo_json


@app.command()
def doctor(
    storage: Annotated[
        str | None, typer.Option(metavar="URI", help="Folder or s3://bucket/prefix to test for reading and writing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation, list its problems and say how to fix them.

    Checks versions, processors, limits, folders, the default model, and whether MLflow, the named Ray cluster and the
    storage can be reached. The exit code is 0 if there are only warnings, else that of the first error.
    """
    from focus_ray.doctor import examine

    findings = examine(storage)
    if as_json:
        echo_json(findings)
    else:
        _echo_findings(findings)
    raise typer.Exit(next((entry["exit_code"] for entry in findings["troubles"] if entry["exit_code"]), 0))


def _echo_findings(findings: dict[str, Any]) -> None:
    """Print a line for each finding, then one for each problem."""
    for name, finding in findings.items():
        if name != "troubles":
            typer.echo(f"{name:<14}{finding if isinstance(finding, str) else json.dumps(finding)}")
    for entry in findings["troubles"]:
        typer.echo(f"{entry['level']}: {entry['about']}: {entry['message']}")
    typer.echo(f"problems found: {len(findings['troubles'])}")
