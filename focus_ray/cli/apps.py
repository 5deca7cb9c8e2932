"""The application and its groups of commands, and the options that several commands share."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from focus_ray import __version__
from focus_ray.model_location import DEFAULT_MODEL, find_model

TYPER_OPTIONS: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "add_completion": False}
app = typer.Typer(name="focus-ray", help="Occlusion-robust 3D face reconstruction (FOCUS).", **TYPER_OPTIONS)
evaluate_app = typer.Typer(help="Score models and predictions against ground truth.", **TYPER_OPTIONS)
data_app = typer.Typer(help="Make data sets.", **TYPER_OPTIONS)
prepare_app = typer.Typer(help="Prepare data sets and public collections to train on.", **TYPER_OPTIONS)
prior_app = typer.Typer(help="The misfit prior: the mean vertex error of the pipeline (section 3.4).", **TYPER_OPTIONS)
model_app = typer.Typer(help="Inspect, verify and copy model folders.", **TYPER_OPTIONS)
face_app = typer.Typer(help="Import, check and show face models.", **TYPER_OPTIONS)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(data_app, name="data")
data_app.add_typer(prepare_app, name="prepare")
app.add_typer(prior_app, name="prior")
app.add_typer(model_app, name="model")
app.add_typer(face_app, name="face")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line on stdout.")]
ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        parser=find_model,
        help=f"Folder, for example RUN/model; name of `model list`; or hf://owner/name. Default: {DEFAULT_MODEL}.",
    ),
]
MODEL_HELP = "Model folder, for example RUN/model; name of `model list`; or hf://owner/name[@revision]."
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", parser=find_model, help=MODEL_HELP)]
PriorFolder = Annotated[
    str | None,
    typer.Option("--prior", metavar="DIR", help="Misfit prior to correct the meshes, for example OUT/prior, or none."),
]
Landmarks = Annotated[
    Path | None,
    typer.Option("--landmarks", metavar="CSV", help="68 landmarks per picture; each line: file name, 136 numbers."),
]
DETECTOR_HELP = (
    "Face detector: auto, mesh, haar, yunet, face-alignment, insightface, insightface-2d106 or insightface-3d68; "
    "auto is mesh if installed."
)
DetectorName = Annotated[str, typer.Option("--detector", metavar="NAME", help=DETECTOR_HELP)]
DetectorWeights = Annotated[
    Path | None,
    typer.Option(
        "--detector-weights",
        metavar="PATH",
        help="Weights of yunet (file), face-alignment or an insightface one (folder).",
    ),
]


def show_version(wanted: bool) -> bool:
    """Print the version and exit if `--version` is given.

    Raises:
        typer.Exit: the version was printed.
    """
    if wanted:
        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Occlusion-robust 3D face reconstruction (FOCUS).

    Train without occlusion labels, reconstruct faces in photographs, and see which pixels are not face.
    """
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("focus_ray").setLevel(level)
