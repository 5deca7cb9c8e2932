"""focus-ray data synthesize, subsets."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from focus_ray.cli.apps import AsJson, data_app
from focus_ray.cli.printing import echo_json

MAX_SEED = 2**63 - 1


MAX_PICTURE_PX = 4096


@data_app.command("synthesize")
def synthesize(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of faces.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same faces.")] = 0,
    size: Annotated[
        int, typer.Option(min=16, max=MAX_PICTURE_PX, metavar="PX", help="Width and height of the pictures.")
    ] = 224,
    layout: Annotated[
        Literal["folder", "now", "ar", "celebahq"],
        typer.Option(help="Folder layout: our own, or that of NoW, the AR database or CelebAMask-HQ."),
    ] = "folder",
    as_json: AsJson = False,
) -> None:
    """Write synthetic faces with exact ground truth.

    The layout `folder` has images/, masks/ (255 = visible face), landmarks.csv and truth.npz. The other layouts have
    the files of their data set, landmarks.csv and dataset.json.
    """
    from focus_ray import terminal
    from focus_ray.data.dataset_writers import write_dataset
    from focus_ray.data.synthetic_folder import write_folder

    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "faces")
        if layout == "folder":
            write_folder(out, n=n, seed=seed, size=size, progress=watch)
        else:
            write_dataset(layout, out, n=n, seed=seed, size=size, progress=watch)
    typer.echo(f"{n} faces: {out}")
    if as_json:
        echo_json({"out": str(out), "n": n, "seed": seed, "size": size, "layout": layout})


@data_app.command("subsets")
def draw_celebahq_subsets(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="CelebAMask-HQ; the two lists are written to it.")],
    occluded: Annotated[int, typer.Option(min=1, help="Number of occluded pictures; 750 in the paper.")] = 750,
    unoccluded: Annotated[int, typer.Option(min=1, help="Number of unoccluded pictures; 558 in the paper.")] = 558,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed draws the same pictures.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw the occluded and the unoccluded subset of CelebA-HQ, whose lists the paper does not publish."""
    from focus_ray.data.sources.celebahq import PICTURES, draw_subsets, read_celebahq
    from focus_ray.data.sources.subset_lists import OCCLUDED, UNOCCLUDED, write_names

    pictures = read_celebahq(folder)
    drawn = draw_subsets(pictures.names, pictures.parts, seed, occluded, unoccluded)
    for name, names in zip((OCCLUDED, UNOCCLUDED), drawn, strict=True):
        write_names(folder / name, [f"{PICTURES}/{one}" for one in names])
    typer.echo(f"{occluded} occluded, {unoccluded} unoccluded of {len(pictures)} pictures: {folder}")
    if as_json:
        echo_json({"folder": str(folder), "occluded": occluded, "unoccluded": unoccluded, "seed": seed})
