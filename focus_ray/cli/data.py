"""focus-ray data synthesize, occlude, detect, subsets, prepare portraits; data prepare of sets is in cli.prepare."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from focus_ray.cli.apps import AsJson, DetectorName, DetectorWeights, Landmarks, data_app, prepare_app
from focus_ray.cli.printing import echo_json, format_count, format_counts

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
    face: Annotated[
        str | None,
        typer.Option(
            metavar="FACE",
            help="Face model of the people: ict, or a file of `face import`; "
            "default: the parametric face with more modes than are fitted.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write synthetic faces with exact ground truth.

    The layout `folder` has images/, masks/ (255 = visible face), landmarks.csv and truth.npz. The other layouts have
    the files of their data set, landmarks.csv and dataset.json.
    """
    from focus_ray import terminal
    from focus_ray.data.dataset_writers import write_dataset
    from focus_ray.data.synthetic_folder import write_folder
    from focus_ray.face_models.by_name import load_face

    world = None if face is None else load_face(face)
    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "faces")
        if layout == "folder":
            write_folder(out, n=n, seed=seed, size=size, world=world, progress=watch)
        else:
            write_dataset(layout, out, n=n, seed=seed, size=size, world=world, progress=watch)
    typer.echo(f"{n} faces: {out}")
    if as_json:
        echo_json({"out": str(out), "n": n, "seed": seed, "size": size, "layout": layout, "face": face})


@data_app.command("occlude")
def occlude_photographs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs of open faces.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; the same command resumes it.")],
    landmarks: Landmarks = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of composites.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same composites.")] = 0,
    families: Annotated[
        str | None, typer.Option(metavar="A,B", help="Occluder families to draw from; default: all.")
    ] = None,
    cutouts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Pictures with transparency, as the family `cutout`.")
    ] = None,
    open_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the composites that stay open, for false alarms.")
    ] = 0.25,
    min_covered: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Smallest share of the face that an occluder covers.")
    ] = 0.1,
    size: Annotated[
        int,
        typer.Option(min=64, max=MAX_PICTURE_PX, metavar="PX", help="Longer photographs are scaled down to this."),
    ] = 1024,
    persons: Annotated[
        Literal["names", "pictures"],
        typer.Option(help="Persons by folder or by file name without its number, or each picture another person."),
    ] = "names",
    as_json: AsJson = False,
) -> None:
    """Paste occluders with exact masks into photographs of open faces, for `evaluate folder`.

    The folder has images/, occluders/ (255 = pasted), masks/ (255 = visible face, roughly), landmarks.csv and
    composites.csv. docs/evaluation.md describes them.
    """
    from focus_ray import terminal
    from focus_ray.data.composites.compose import write_composites
    from focus_ray.data.composites.composite_config import CompositeConfig

    names = None if families is None else tuple(name.strip() for name in families.split(",") if name.strip())
    options = {"n": n, "seed": seed, "families": names, "open_share": open_share, "min_covered": min_covered}
    config = CompositeConfig(**options, max_side=size, persons=persons)
    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "composites")
        rows = write_composites(folder, out, config, landmarks=landmarks, cutouts=cutouts, progress=watch)
    opened, known = sum(row.is_open for row in rows), len({row.person for row in rows})
    typer.echo(f"{len(rows)} composites, {opened} of them open, of {format_count(known, 'person')}: {out}")
    if as_json:
        echo_json({"out": str(out), "n": len(rows), "open": opened, "persons": known, "seed": seed})


@data_app.command("detect")
def detect_landmarks(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of pictures; s3:// is possible.")],
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder to write; default: DIR itself; s3:// is possible.")
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    least_face: Annotated[
        float, typer.Option(min=8, metavar="PX", help="Smallest face, by the longer side of its landmarks' box.")
    ] = 32.0,
    recursive: Annotated[bool, typer.Option(help="Include pictures in subfolders.")] = True,
    tasks: Annotated[int, typer.Option(min=1, help="Number of parallel Ray actors, one core each.")] = 2,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write landmarks.csv for `train`: the largest face of each picture, found by a detector.

    landmarks.parquet has all faces, detect.json the pictures without landmarks and why. The same command resumes an
    interrupted detection and adds new pictures.
    """
    from focus_ray import terminal
    from focus_ray.data.detect_landmarks import DetectSettings, resolve_landmark_detector
    from focus_ray.detection.detect_folder import detect_folder
    from focus_ray.runtime.tasks import PoolSettings

    spec = resolve_landmark_detector(detector, detector_weights)
    with terminal.TerminalProgress() as progress:
        summary = detect_folder(
            folder,
            spec,
            out=out,
            settings=DetectSettings(least_face=least_face),
            pool=None if local else PoolSettings(tasks=tasks),
            recursive=recursive,
            progress=progress.on_progress,
            note=progress.on_message,
        )
    counts = {str(reason): count for reason, count in summary.counts.items()}
    place = out or folder
    typer.echo(
        f"{summary.pictures} pictures: {format_counts(counts)}\n"
        f"landmarks: {place}/landmarks.csv\nwithout landmarks: {place}/detect.json"
    )
    if as_json:
        echo_json({"out": place, **summary.model_dump(mode="json", exclude={"problems"})})


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


@prepare_app.command("portraits")
def prepare_portraits(
    checkout: Annotated[Path, typer.Argument(metavar="CHECKOUT", help="Checkout of the public collection.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; the same command resumes it.")],
    as_json: AsJson = False,
) -> None:
    """Copy the listed public-domain portraits of a checkout into DIR/report, DIR/choose and DIR/train.

    Each file is verified by its SHA-256 before anything is written. docs/data.md describes the collection.
    """
    from focus_ray import terminal
    from focus_ray.data.portraits import prepare_portraits as prepare

    with terminal.TerminalProgress() as progress:
        counts = prepare(checkout, out, progress=progress.on_progress)
    copied = ", ".join(f"{count} to {out / split}" for split, count in counts.items())
    typer.echo(f"{sum(counts.values())} portraits: {copied}")
    typer.echo(f"landmarks to train on: focus-ray data detect {out / 'train'}")
    if as_json:
        echo_json({"out": str(out), **counts})
