"""focus-ray serve, key."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import DETECTOR_HELP, DetectorWeights, PriorFolder, app


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help="Folder, name of `model list`, s3://.../model, hf://owner/name or models:/NAME@ALIAS.",
        ),
    ] = None,
    prior: PriorFolder = None,
    detector: Annotated[str | None, typer.Option("--detector", metavar="NAME", help=DETECTOR_HELP)] = None,
    detector_weights: DetectorWeights = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on; default: 8000.")] = None,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", metavar="FILE", help="Accepted API keys: file of `focus-ray key`.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Serve a non-loopback address without API keys.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Settings that replace defaults.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of serving/settings.py; repeatable.")
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Replace the model of the endpoint at --port; no request fails.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a model over HTTP with a web page and an API, autoscaled. Ctrl-C stops it."""
    from focus_ray.runtime.signals import graceful_shutdown
    from focus_ray.serving import launch
    from focus_ray.serving.settings_loader import load_settings

    echo = partial(typer.echo, err=True)
    weights = None if detector_weights is None else str(detector_weights)
    given = {"model": model, "prior": prior, "http": {"host": host, "port": port}}
    given |= {"detector": detector, "detector_weights": weights}
    settings = load_settings(config, assignments or [], given, api_keys)
    if swap:
        launch.swap(settings, echo)
        return
    with graceful_shutdown() as stopped:
        ready = _open if open_page else None
        launch.run(settings, without_keys=without_keys, echo=echo, on_ready=ready, should_stop=stopped)


@app.command("key")
def new_api_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Owner of the key, shown in logs.")],
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="File to append the key's hash to.")],
) -> None:
    """Create an API key. It is shown once; only its hash is written to a file for `serve --api-keys`."""
    from focus_ray.serving.keys import add_key

    typer.echo(add_key(file, name))


def _open(url: str) -> None:
    """Open the page in the user's browser, if there is one."""
    import webbrowser

    webbrowser.open(url)
