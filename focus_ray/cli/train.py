"""focus-ray train, track."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from focus_ray.cli.apps import AsJson, app
from focus_ray.cli.printing import echo_json
from focus_ray.errors import ConfigError


@app.command()
def train(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="embedded | portrait_warmup | portrait_em | portrait | paper | release | adapt | misfit, or a "
            "baseline (mofa, ...); default: embedded, adapt with --data, misfit for `prior train`.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Keys that replace those of the preset.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of RUN/config.json; repeatable.")
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(metavar="FACE", help="Face model: ict, or a file of `face import`; default: the parametric face."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Photographs to train on instead of synthetic faces; s3:// is possible."),
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(metavar="CSV", help="68 landmarks per photograph; each line: file name, 136 numbers."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Total steps; scales every phase in proportion.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run; default: runs/PRESET.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Resume the run in this folder or at s3://bucket/prefix/NAME."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that share each batch.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="One GPU for each worker.")] = False,
    cpus: Annotated[
        int | None,
        typer.Option("--cpus-per-worker", min=1, help="Cores per worker; default: equal shares (on a cluster: 1)."),
    ] = None,
    data_workers: Annotated[int, typer.Option(min=0, help="Data-loading processes of each worker.")] = 0,
    max_failures: Annotated[int, typer.Option(min=-1, help="Worker failures before the run fails; -1: any.")] = 10,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Keep checkpoints in a folder or s3://bucket/prefix, not in the run folder."),
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="MLflow experiment; default: focus.")] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Give the finished model the alias `production` in MLflow.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Train in this process, without Ray and MLflow: for debugging.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only list what the run needs and takes; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model: on synthetic faces made on the fly, or on your own photographs."""
    from focus_ray import terminal

    if check and resume is not None:
        raise ConfigError("--check examines a new run; leave --resume out")
    if resume is not None:
        _check_resume_options(
            preset=preset,
            config=config,
            set=assignments,
            face=face,
            data=data,
            landmarks=landmarks,
            steps=steps,
            seed=seed,
            experiment=experiment,
        )
        folder, resolved = _resolve_resume_folder(resume, out), None
    else:
        if landmarks is not None and data is None:
            raise ConfigError("--landmarks requires photographs; give their folder with --data")
        preset = preset or _preset_of(config) or ("embedded" if data is None else "adapt")
        folder = out or Path("runs") / preset
        resolved = _run_config(preset, config, assignments or [], steps, seed, face, data, landmarks)
    if check and resolved is not None:
        from focus_ray.cli.run_check import check_run

        check_run(resolved, folder, storage, workers=workers, gpu=gpu, local=local, as_json=as_json)
    with terminal.TerminalProgress() as progress:
        if local:
            _check_local_options(
                workers=workers != 1,
                storage=storage,
                experiment=experiment,
                data_workers=data_workers,
                promote=promote,
            )
            from focus_ray.training import in_process

            metrics = in_process.train(resolved, folder, callback=progress, device="cuda" if gpu else "cpu")
        else:
            from focus_ray.runtime.ray_cluster import ClusterSettings
            from focus_ray.training import driver

            cluster = ClusterSettings(
                workers=workers, gpu=gpu, cpus_per_worker=cpus, data_workers=data_workers, max_failures=max_failures
            )
            metrics = driver.train(
                resolved,
                folder,
                cluster,
                storage=storage,
                experiment=experiment or "focus",
                promote=promote,
                callback=progress,
            )
    typer.echo(f"report: {folder / 'report.html'}\nmodel:  {folder / 'model'}")
    if as_json:
        echo_json({"run": str(folder), **metrics})


@app.command("track")
def track_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    promote: Annotated[
        bool, typer.Option("--promote", help="Give its model the alias `production` in MLflow.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload to MLflow the part of a run that is missing there, for example after MLflow was unreachable."""
    from focus_ray.tracking.mlflow_tracker import TrackingSettings, track

    sent = track(run, TrackingSettings(), promote=promote, note=lambda message: typer.echo(message, err=True))
    typer.echo(f"MLflow is up to date with {run}")
    if as_json:
        echo_json(dataclasses.asdict(sent))


def _preset_of(file: Path | None) -> str | None:
    """Return the preset that a file names, such as best.yaml of a sweep."""
    from focus_ray.config import read_yaml

    named = None if file is None else read_yaml(file).get("preset")
    return named if isinstance(named, str) else None


def _check_resume_options(**given: Any) -> None:
    """Raise ConfigError for an option that cannot change a resumed run."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--{name} cannot be changed in a resumed run; leave it out, or start a new run")


def _resolve_resume_folder(run: str, out: Path | None) -> Path:
    """Return the folder of the run to resume; a run in a store is downloaded first."""
    if "://" in run:
        from focus_ray.training.run_folder_sync import restore_run_dir

        return restore_run_dir(run, out)
    if out is not None and out.resolve() != Path(run).resolve():
        raise ConfigError(f"--out {out} is not the folder of --resume {run}; leave it out")
    return Path(run)


def _check_local_options(**given: Any) -> None:
    """Raise ConfigError for an option that needs a cluster."""
    for name, value in given.items():
        if value:
            raise ConfigError(f"--{name.replace('_', '-')} cannot be combined with --local; leave one of them out")


def _run_config(
    preset: str,
    file: Path | None,
    assignments: list[str],
    steps: int | None,
    seed: int | None,
    face: str | None,
    data: str | None,
    landmarks: str | None,
) -> Any:
    """Return the resolved configuration: preset, then file, then --set, then the other options."""
    from focus_ray import presets

    if seed is not None:
        assignments = [*assignments, f"seed={seed}"]
    config = presets.load(preset, file, assignments)
    if face is not None:
        config = config.with_face(face)
    if data is not None:
        config = config.with_photos(data, landmarks)
    return config if steps is None else config.model_copy(update={"schedule": config.schedule.rescale(steps)})
