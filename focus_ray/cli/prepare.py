"""focus-ray data prepare celebahq, ar, now, 300w-lp, aflw2000, 300w, deep3d, folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from focus_ray.cli.apps import AsJson, DetectorName, DetectorWeights, prepare_app
from focus_ray.cli.printing import echo_json, format_counts

_LAYOUTS = {
    "celebahq": "CelebAMask-HQ with its masks and CelebA's train, val and test split.",
    "ar": "The pictures of the AR database that have masks, for evaluation.",
    "now": "The pictures of the NoW challenge, for evaluation.",
    "300w-lp": "300W-LP, with the landmarks of its .mat files.",
    "aflw2000": "AFLW2000-3D, with the landmarks of its .mat files, for evaluation.",
    "300w": "300-W, with the landmarks of its .pts files.",
    "deep3d": "Folders of Deep3DFaceRecon_pytorch: pictures, and five points in detections/NAME.txt.",
    "folder": "Any folder of photographs, with or without landmarks.csv.",
}

Place = Annotated[str, typer.Argument(metavar="PATH", help="Folder of the set; s3:// is possible for some.")]
Out = Annotated[str, typer.Option(metavar="STORE", help="Store to write, s3:// is possible; the command resumes it.")]
Size = Annotated[int, typer.Option(min=32, max=1024, metavar="PX", help="Side of the aligned crops.")]
Format = Annotated[Literal["png", "jpeg"], typer.Option("--format", help="PNG, without loss, or JPEG.")]
Quality = Annotated[int, typer.Option(min=50, max=100, help="Quality of JPEG.")]
Tasks = Annotated[int, typer.Option(min=1, help="Number of parallel Ray tasks, one core each.")]
Local = Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")]


def _add_command(kind: str, help_text: str) -> None:
    def prepare(
        path: Place,
        out: Out,
        size: Size = 224,
        picture_format: Format = "png",
        quality: Quality = 95,
        detector: DetectorName = "auto",
        detector_weights: DetectorWeights = None,
        tasks: Tasks = 2,
        local: Local = False,
        as_json: AsJson = False,
    ) -> None:
        _prepare(kind, path, out, size, (picture_format, quality), (detector, detector_weights), tasks, local, as_json)

    prepare_app.command(kind, help=f"{help_text}\n\nWrites aligned faces in shards, to train on.")(prepare)


for _kind, _help in _LAYOUTS.items():
    _add_command(_kind, _help)


def _prepare(
    kind: str,
    path: str,
    out: str,
    size: int,
    picture: tuple[str, int],
    detector: tuple[str, Path | None],
    tasks: int,
    local: bool,
    as_json: bool,
) -> None:
    from focus_ray import terminal
    from focus_ray.data.prepared.shard_file import PictureFormat
    from focus_ray.preparation.prepare_set import PrepareSettings, prepare_set
    from focus_ray.runtime.tasks import PoolSettings

    name, weights = detector
    with terminal.TerminalProgress() as progress:
        described = prepare_set(
            kind,  # pyright: ignore[reportArgumentType]  # one of _LAYOUTS
            path,
            out,
            PrepareSettings(size=size, picture=PictureFormat(name=picture[0], quality=picture[1])),
            detector=name,
            detector_weights=None if weights is None else str(weights),
            pool=None if local else PoolSettings(tasks=tasks),
            progress=progress.on_progress,
            note=progress.on_message,
        )
    splits = {split or "no split": count for split, count in described.splits.items()}
    typer.echo(f"{described.records} of {described.pictures} pictures ({format_counts(splits)}): {out}")
    if described.dropped:
        typer.echo(f"left out: {format_counts(described.dropped)}; see {out}/dropped.csv")
    typer.echo(f"terms of {described.source}: {described.terms.terms}; {described.terms.why}")
    if as_json:
        echo_json({"out": out, **described.model_dump(mode="json", exclude={"shards"})})
