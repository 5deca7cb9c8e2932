"""focus-ray serve, key."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import PriorFolder, app


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="Folder, s3://bucket/prefix/model or models:/NAME@ALIAS."),
    ] = None,
    prior: PriorFolder = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at; 127.0.0.1 unless given.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="8000 unless given.")] = None,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", metavar="FILE", help="Who may ask: lines of `focus-ray key`.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let anybody ask who reaches the address.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Keys laid over the defaults.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of serving/settings.py; repeatable.")
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Give the endpoint that runs at --port this model; no request fails.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Host a model behind HTTP: a web page, an API, autoscaled. Ctrl-C ends it."""
    from focus_ray.runtime.signals import graceful_shutdown
    from focus_ray.serving import launch
    from focus_ray.serving.settings_loader import load_settings

    say = partial(typer.echo, err=True)
    given = {"model": model, "prior": prior, "http": {"host": host, "port": port}}
    settings = load_settings(config, assignments or [], given, api_keys)
    if swap:
        launch.swap(settings, say)
        return
    with graceful_shutdown() as stopped:
        ready = _open if open_page else None
        launch.run(settings, without_keys=without_keys, echo=say, on_ready=ready, should_stop=stopped)


@app.command("key")
def new_api_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; stands in logs.")],
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="The line is added there.")],
) -> None:
    """Make an API key: it is shown once, and only its hash is written to a file for `serve --api-keys`."""
    from focus_ray.serving.keys import add_key

    typer.echo(add_key(file, name))


def _open(url: str) -> None:
    """Open the page in the user's browser, if there is one."""
    import webbrowser

    webbrowser.open(url)
