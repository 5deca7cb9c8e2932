"""focus-ray prior train, build, laws, show."""

from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from focus_ray.cli.apps import AsJson, Landmarks, ModelFolder, prior_app
from focus_ray.cli.printing import echo_json, echo_record
from focus_ray.cli.train import train
from focus_ray.model_location import SHIPPED_MODELS


@prior_app.command("train", help="Train R_syn: the same pipeline on renders of the fitted face, without a mask.")
@wraps(train)
def train_r_syn(**options: Any) -> None:
    """`train`, of the preset misfit unless another is given."""
    if options["resume"] is None and options["preset"] is None:
        options["preset"] = "misfit"
    train(**options)


@prior_app.command("build")
def build_prior(
    model: Annotated[
        str, typer.Option("--model", metavar="DIR", help="R_syn: RUN/model of `prior train`; or s3://, hf://.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the prior; the same command resumes it.")],
    applied_to: Annotated[
        str | None, typer.Option("--for", metavar="DIR", help="Model to correct; the gate tests the prior with it.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=2, help="Faces to average over; default: 20000.")] = None,
    heldout: Annotated[int | None, typer.Option(min=2, help="Held-out faces to score on; default: 20000.")] = None,
    shard_size: Annotated[int | None, typer.Option(min=1, help="Faces per task; default: 500.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same faces.")] = None,
    refine: Annotated[
        int | None, typer.Option(min=0, metavar="STEPS", help="Measure faces refined by this number of steps.")
    ] = None,
    aligned: Annotated[
        bool | None, typer.Option("--aligned", help="Subtract the error after similarity alignment.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="MM", help="Stop when the prior's standard error is below this.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Keys of the configuration, for example laws.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the configuration; repeatable.")
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="Number of parallel Ray tasks, one core each.")] = 2,
    gpu_share: Annotated[float, typer.Option(min=0, max=1, help="Fraction of a GPU for each task.")] = 0.0,
    max_failures: Annotated[int, typer.Option(min=0, help="Retries of a shard whose worker dies.")] = 20,
    storage: Annotated[
        str | None, typer.Option(metavar="URI", help="Keep shards and prior in a folder or s3://bucket/prefix.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="MLflow experiment; default: focus.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray and MLflow.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the prior: render faces, fit them with R_syn, average the errors, score the mean on other faces."""
    from focus_ray import terminal
    from focus_ray.priors.build import compute_prior
    from focus_ray.priors.prior_config import build_prior_config
    from focus_ray.runtime.tasks import PoolSettings
    from focus_ray.tracking.mlflow_tracker import track_quietly

    given = {
        "model": _location(model),
        "applied_to": None if applied_to is None else _location(applied_to),
        "n": n,
        "heldout": heldout,
        "shard_size": shard_size,
        "seed": seed,
        "refine_steps": refine,
        "aligned": aligned,
        "target_mm": target,
    }
    resolved = build_prior_config(config, assignments or [], given)
    pool = None if local else PoolSettings(tasks=tasks, gpu_share=gpu_share, max_retries=max_failures)
    with terminal.TerminalProgress() as progress:
        info = compute_prior(
            resolved, out, pool, storage=storage, experiment=experiment or "focus", progress=progress.on_progress
        )
        if not local:
            track_quietly(out, progress.on_message)
    figures = info.figures[info.applied]
    typer.echo(
        f"mean signed error, held out: {figures.rms_before_mm:.3f} mm -> {figures.rms_after_mm:.3f} mm with the prior\n"
        f"mean vertex distance: {figures.distance_before_mm:.3f} mm -> {figures.distance_after_mm:.3f} mm, "
        f"{100 * figures.improved_share:.1f} % of the faces improve\n"
        f"shards: {info.shards_computed} computed, {info.shards_kept} reused"
        + ("" if info.faces_per_s is None else f"; {info.faces_per_s:.0f} faces/s")
        + f"\napplied by default: {'yes' if info.by_default else 'no'}\n"
        f"report: {out / 'report.html'}\nprior:  {out / 'prior'}"
    )
    if as_json:
        echo_json({"prior": str(out / "prior"), **info.model_dump(mode="json"), "by_default": info.by_default})


def _location(model: str) -> str:
    """Return the absolute path of a model's folder, also of one by name; URIs are returned unchanged."""
    from focus_ray.config import absolute_location

    return absolute_location(str(SHIPPED_MODELS.get(model, model)))


@prior_app.command("laws")
def fit_distributions(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option(metavar="YAML", help="File to write, for --config.")],
    model: ModelFolder = None,
    landmarks: Landmarks = None,
    as_json: AsJson = False,
) -> None:
    """Fit the distributions of pose and light to a model's predictions on real pictures."""
    from focus_ray import terminal
    from focus_ray.priors.pose_light_fit import fit_to_pictures

    with terminal.TerminalProgress() as progress:
        fitted = fit_to_pictures(paths, out, model=model, landmarks=landmarks, progress=progress.on_progress)
    typer.echo(f"distributions of {fitted['faces']} faces: {out}")
    if as_json:
        echo_json({"out": str(out), **fitted})


@prior_app.command("show")
def show_prior(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a prior, for example OUT/prior.")],
    as_json: AsJson = False,
) -> None:
    """Verify every file of a prior's folder and print its description."""
    from focus_ray.prior import load

    info = load(folder).info
    description = {"folder": str(folder), **info.model_dump(mode="json")}
    description |= {"by_default": info.by_default, "default_for": info.default_for}
    echo_record(description, as_json)
