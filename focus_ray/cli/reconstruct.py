"""focus-ray reconstruct."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from focus_ray.cli.apps import AsJson, DetectorName, DetectorWeights, Landmarks, ModelFolder, PriorFolder, app
from focus_ray.cli.collection import CollectionPause
from focus_ray.cli.printing import MAX_PICTURE_MESSAGES, echo_json, format_count, format_counts
from focus_ray.errors import ConfigError, DataError

if TYPE_CHECKING:
    from focus_ray.inference import ImageResult
    from focus_ray.inference.reconstructor import ReconstructionSettings

_COMPILATION = "compiling the renderer for this machine; later runs start at once"


@app.command()
def reconstruct(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    model: ModelFolder = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("reconstructions"),
    landmarks: Landmarks = None,
    box: Annotated[
        str | None, typer.Option(metavar="x,y,w,h", help="Box of the face in px, for a single picture.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass as in the paper."),
    ] = None,
    prior: PriorFolder = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    formats: Annotated[str, typer.Option("--format", metavar="obj,ply,glb", help="Mesh files to write.")] = "obj",
    texture: Annotated[
        Literal["photo", "albedo", "none"],
        typer.Option(
            help="Texture of OBJ and GLB: the photograph, the photograph without its light, or vertex colours alone.",
        ),
    ] = "photo",
    recursive: Annotated[bool, typer.Option("--recursive", help="Include pictures in subfolders.")] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=v", help="One setting of the reconstruction; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reconstruct the faces in photographs: shape, colour, light, pose, and which pixels are not face."""
    with CollectionPause() as pause:
        from focus_ray import terminal
        from focus_ray.data.detectors.by_name import resolve_detector
        from focus_ray.focus.render.numba_jit import on_compilation
        from focus_ray.inference import reconstruct_paths

        progress = terminal.TerminalProgress()
        with progress, on_compilation(lambda: progress.on_message(_COMPILATION)):

            def on_progress(name: str, done: int, total: int) -> None:
                pause.on_progress(done)
                progress.on_progress(name, done, total)

            results = reconstruct_paths(
                paths,
                out,
                model=model,
                detector=resolve_detector(detector, detector_weights).build(),
                landmarks=landmarks,
                box=None if box is None else _parse_box(box),
                refine=refine,
                prior=prior,
                formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
                texture=texture,
                recursive=recursive,
                settings=_parse_settings(assignments) if assignments else None,
                progress=on_progress,
            )
    left_out = Counter(result.message for result in results if result.status == "left_out")
    results = [result for result in results if result.status != "left_out"]
    count = {status: sum(result.status == status for result in results) for status in ("ok", "no_face", "error")}
    faces = sum(len(result.faces) for result in results)
    pictures = format_count(len(results), "picture")
    typer.echo(f"{format_count(faces, 'face')} in {pictures} ({format_counts(count)}): {out / 'results.json'}")
    if left_out:
        typer.echo(
            f"left out: {format_counts(left_out)}{'; --recursive includes subfolders' if left_out['subfolder'] else ''}"
        )
    if as_json:
        echo_json(
            {
                "results": str(out / "results.json"),
                "images": len(results),
                "faces": faces,
                **count,
                "left_out": dict(left_out),
            }
        )
    if len(results) == 1 and count["error"]:
        raise DataError(results[0].message)
    _print_reasons([result for result in results if result.status != "ok"], out / "results.json")
    if results and count["error"] == len(results):
        raise DataError(f"no picture could be read; see {out / 'results.json'}")


def _parse_settings(assignments: list[str]) -> "ReconstructionSettings":
    """Parse `a.b=v` texts. Raises ConfigError."""
    from focus_ray.config import resolve_settings
    from focus_ray.inference.reconstructor import ReconstructionSettings

    return resolve_settings(ReconstructionSettings(), "focus_ray/inference/reconstructor.py", None, assignments, {})


def _print_reasons(failed: "Sequence[ImageResult]", results_file: Path) -> None:
    """Print on stderr why pictures have no face: the first few, then the number of the others."""
    for result in failed[:MAX_PICTURE_MESSAGES]:
        named = result.message.startswith(result.image)
        typer.echo(result.message if named else f"{result.image}: {result.message}", err=True)
    if len(failed) > MAX_PICTURE_MESSAGES:
        typer.echo(f"and {len(failed) - MAX_PICTURE_MESSAGES} more, see {results_file}", err=True)


def _parse_box(text: str) -> tuple[float, float, float, float]:
    """Parse a box x,y,w,h in px. Raises ConfigError."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--box {text!r} is not x,y,w,h; give four numbers in px, for instance 40,30,200,220"
        ) from None
    if not all(math.isfinite(number) for number in (x, y, width, height)):
        raise ConfigError(f"--box {text!r} is not finite; give four numbers in px, for instance 40,30,200,220")
    if not (width > 0 and height > 0):
        raise ConfigError(f"--box {text!r} has no area; width and height must be positive")
    return x, y, width, height
