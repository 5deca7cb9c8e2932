"""focus-ray tune."""

from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import AsJson, app
from focus_ray.cli.printing import echo_json
from focus_ray.errors import ConfigError, SearchError


@app.command()
def tune(
    search: Annotated[
        Path | None, typer.Argument(metavar="YAML", help="Search file, for example tune_configs/threshold.yaml.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the search file; repeatable.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Photographs to train on, with landmarks.csv; s3:// is possible.")
    ] = None,
    judge_data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Photographs of other persons, on which trials are judged.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the sweep.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Resume the sweep in this folder.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="MLflow experiment; default: focus.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search thresholds, weights and schedules with Ray Tune; --resume continues a stopped search.

    --data and --judge-data are for presets that are trained on photographs, such as tune_configs/portrait.yaml.
    """
    from focus_ray import terminal
    from focus_ray.tuning.results import count_by_status
    from focus_ray.tuning.search import read_search
    from focus_ray.tuning.sweep import load_search, run_sweep

    if resume is not None:
        if any(given not in (None, []) for given in (search, assignments, data, judge_data, out, experiment)):
            raise ConfigError(
                "--resume uses the stored settings of the sweep; give no search file, --set, --data, --judge-data, "
                "--out or --experiment"
            )
        folder, wanted = resume, load_search(resume)
    elif search is None:
        raise ConfigError("no search file is given; give one, for example tune_configs/threshold.yaml, or --resume DIR")
    else:
        photographs = {name: given for name, given in (("train", data), ("judge", judge_data)) if given is not None}
        folder = out or Path("runs") / search.stem
        wanted = read_search(search, tuple(assignments or ()), photographs)
    with terminal.TerminalProgress() as progress:
        results = run_sweep(
            wanted, folder, experiment=experiment or "focus", progress=progress.on_progress, notify=progress.on_message
        )
    typer.echo(", ".join(f"{count} {status}" for status, count in count_by_status(results.trials).items()))
    best = next((one for one in results.trials if one.id == results.best), None)
    if best is not None:
        chosen = ", ".join(f"{name} {value}" for name, value in best.config.items())
        typer.echo(f"best: {chosen} ({results.objective} {best.objective:.4f})")
    typer.echo(f"report: {folder / 'report.html'}")
    if best is not None:
        typer.echo(f"best:   {folder / 'best.yaml'}")
    if as_json:
        echo_json({"sweep": str(folder), **results.model_dump(mode="json")})
    if best is None:
        raise SearchError(f"no trial finished; see {folder / 'results.json'} for the reasons")
