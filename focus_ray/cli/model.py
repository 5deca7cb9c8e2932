"""focus-ray model info, export."""

from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import AsJson, model_app
from focus_ray.cli.printing import echo_json, echo_record, shipped_model


@model_app.command("info")
def model_info(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Model folder; default: the shipped one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify every file of a model folder and print its description."""
    from focus_ray.model import describe
    from focus_ray.storage.checkpoint import load_model

    folder = folder or shipped_model()
    stored = load_model(folder)
    parameters = {name: sum(t.numel() for t in tensors.values()) for name, tensors in stored.networks.items()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    description = {"folder": str(folder), "bytes": size, "parameters": parameters, "info": describe(folder, stored)}
    echo_record(description, as_json)


@model_app.command("export")
def model_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Model folder, for example RUN/model.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Model folder to write.")],
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16: half the size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a model folder, optionally with weights in half precision."""
    from focus_ray import model
    from focus_ray.storage.checkpoint import MODEL
    from focus_ray.storage.manifest import check_replaceable

    check_replaceable(out, MODEL)
    model.save(out, model.load(folder), half=half)
    size = sum(path.stat().st_size for path in out.iterdir())
    typer.echo(f"{size / 1e6:.1f} MB: {out}")
    if as_json:
        echo_json({"out": str(out), "bytes": size, "half": half})
