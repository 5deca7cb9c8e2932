"""Output of focus-ray train --check: what a run needs, whether it is there, and what the run takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from focus_ray.cli.printing import echo_json

if TYPE_CHECKING:
    from focus_ray.config import RunConfig
    from focus_ray.training.assets import Asset


def check_run(
    config: "RunConfig", out: Path, storage: str | None, *, workers: int, gpu: bool, local: bool, as_json: bool
) -> NoReturn:
    """Print assets, terms and plan of a run; exit with 0, or with the code of the first missing asset."""
    from focus_ray.licences.table import verdict
    from focus_ray.runtime.ray_cluster import ClusterSettings
    from focus_ray.training.assets import face_vertices, licence_parts, list_assets
    from focus_ray.training.run_plan import plan_run

    cluster = ClusterSettings(workers=workers, gpu=gpu)
    assets = list_assets(config, out, cluster, storage, local=local)
    plan = plan_run(config, cluster, face_vertices(config), local=local)
    sale = verdict(licence_parts(config, out))
    errors = [asset.error for asset in assets if asset.error is not None]
    exit_code = errors[0].exit_code if errors else 0
    if as_json:
        records = [_record(asset) for asset in assets]
        echo_json({"preset": config.preset, "assets": records, "sale": sale, "plan": plan, "exit_code": exit_code})
    else:
        for asset in assets:
            _echo_asset(asset)
        _echo_plan(plan)
        typer.echo(f"sale: {sale}")
        missing = f"{len(errors)} missing" if errors else "all there"
        typer.echo(f"{config.preset}: {missing}, nothing was written")
    raise typer.Exit(exit_code)


def _record(asset: "Asset") -> dict[str, Any]:
    from focus_ray.cli.main import error_code

    problem = asset.error and {
        "code": error_code(type(asset.error)),
        "exit_code": asset.error.exit_code,
        "message": str(asset.error),
    }
    return {
        **asset._asdict(),
        "state": asset.state,
        "terms": asset.terms and asset.terms.model_dump(),
        "error": problem,
    }


def _echo_asset(asset: "Asset") -> None:
    place = "" if asset.location is None else f" ({asset.location})"
    version = "" if asset.version is None else f"; {asset.version}"
    typer.echo(f"{asset.state:<8}{asset.name}: {asset.what}{place}{version}")
    if asset.error is not None:
        typer.echo(f"        error: {asset.error}")
    if asset.warning is not None:
        typer.echo(f"        warning: {asset.warning}")
    if asset.source is not None and asset.error is not None:
        typer.echo(f"        get it: {asset.source}")
    if asset.terms is not None:
        typer.echo(f"        terms: {asset.terms.terms}; sale: {asset.terms.commercial} ({asset.terms.why})")


def _echo_plan(plan: dict[str, Any]) -> None:
    shares = ", ".join(map(str, plan["batch_per_worker"]))
    phases = ", ".join(f"{count:,} {name}" for name, count in plan["steps"].items() if count)
    fewest, most = plan["gpu_hours"]
    typer.echo(f"runs    {plan['how']}; batch {plan['batch_size']}, of each worker {shares}; {plan['image_size']} px")
    typer.echo(f"steps   {plan['total_steps']:,}: {phases}")
    typer.echo(
        f"memory  about {plan['memory_gb']} GB in each worker, {plan['memory_available_gb']} GB are free here; disk "
        f"about {plan['disk_gb']} GB"
    )
    typer.echo(f"time    {fewest} to {most} hours on one {plan['gpu']}: {plan['arithmetic']}")
