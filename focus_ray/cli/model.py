"""focus-ray model list, info, verify, card, export, push, appearance, calibrate."""

from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import MODEL_HELP, AsJson, DetectorName, DetectorWeights, ModelArgument, model_app
from focus_ray.cli.printing import echo_json, echo_record, format_count
from focus_ray.errors import ConfigError
from focus_ray.model_location import DEFAULT_MODEL, SHIPPED_MODELS, find_model
from focus_ray.storage.hub_address import PREFIX as HUB_PREFIX
from focus_ray.storage.object_store import SCHEME


def parse_folder(location: str) -> Path:
    """Return the model folder that a command writes into.

    Args:
        location: a folder.

    Raises:
        ConfigError: it is the name of a shipped model, or an address.
    """
    if location in SHIPPED_MODELS:
        raise ConfigError(
            f"--model {location} is the name of a shipped model, and the command writes into the model folder; give "
            f"a copy by `focus-ray model export {location} --out DIR`, or ./{location} for a folder of that name"
        )
    if SCHEME.match(location):
        raise ConfigError(
            f"--model {location} cannot be written to; give a folder, for example a copy by `focus-ray model export`"
        )
    return Path(location)


@model_app.command("list")
def model_list(as_json: AsJson = False) -> None:
    """List the models that come with the package."""
    from focus_ray.model_folder import list_shipped

    shipped = list_shipped()
    for model in shipped:
        size = f"{model.image_size} px, {model.face}, {model.megabytes} MB"
        typer.echo(f"{model.name}: {model.version}, {size}{', default' if model.default else ''}")
    if as_json:
        echo_json({"models": [model.model_dump(mode="json") for model in shipped]})


@model_app.command("verify")
def model_verify(folder: ModelArgument, as_json: AsJson = False) -> None:
    """Compare every file of a model folder with its manifest."""
    from focus_ray.model_folder import verify

    sizes = verify(folder)
    typer.echo(f"verified: {format_count(len(sizes), 'file')}, {sum(sizes.values()) / 1e6:.1f} MB: {folder}")
    if as_json:
        echo_json({"folder": str(folder), "verified": True, "files": sizes})


@model_app.command("card")
def model_card_of(folder: ModelArgument, as_json: AsJson = False) -> None:
    """Print the model card, as Markdown: what the model was made from, and under which terms."""
    from focus_ray.model_folder import card

    text = card(folder)
    if as_json:
        echo_json({"folder": str(folder), "card": text})
    else:
        typer.echo(text, nl=False)


@model_app.command("push")
def model_push(
    folder: ModelArgument,
    repository: Annotated[str, typer.Argument(metavar="hf://OWNER/NAME", help="Repository; created if it is new.")],
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model folder to a Hugging Face Hub, with its card as README, as one commit.

    The token is that of huggingface_hub: HF_TOKEN, or the one of `hf auth login`.
    """
    from focus_ray.model_folder import push

    url = push(folder, repository, private=private)
    typer.echo(f"pushed: {url}")
    if as_json:
        echo_json({"repository": repository, "commit": url})


@model_app.command("info")
def model_info(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", parser=find_model, help=f"{MODEL_HELP} Default: {DEFAULT_MODEL}."),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Print the model card instead, as Markdown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify every file of a model folder and print its description and licences."""
    from focus_ray.licences.model_card import model_card
    from focus_ray.licences.table import licence_table, to_text, verdict
    from focus_ray.model import describe
    from focus_ray.prior import SHIPPED_PRIOR, find_default
    from focus_ray.storage.checkpoint import load_model

    folder = folder or find_model(None)
    stored = load_model(folder)
    parameters = {name: sum(t.numel() for t in tensors.values()) for name, tensors in stored.networks.items()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    info = describe(folder, stored)
    parts = licence_table(info)
    prior = None if find_default(str(info.get("version"))) is None else str(SHIPPED_PRIOR)
    description = {"folder": str(folder), "bytes": size, "parameters": parameters, "prior": prior, "info": info}
    if as_json:
        table = [part.model_dump(mode="json") for part in parts]
        echo_json(description | {"licences": {"parts": table, "verdict": verdict(parts)}})
    elif card:
        typer.echo(model_card(info), nl=False)
    else:
        echo_record(description, as_json)
        typer.echo(to_text(parts))


@model_app.command("export")
def model_export(
    folder: ModelArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Model folder to write.")],
    half: Annotated[
        bool,
        typer.Option("--half", help="Store weights as float16, and no copy of a face model that the package ships."),
    ] = False,
    mask_bias: Annotated[
        float,
        typer.Option(metavar="LOGITS", help="Add to the logits of the masks; above 0, they remove less of the face."),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Copy a model folder, optionally with weights in half precision or with masks that remove less or more."""
    from focus_ray import model
    from focus_ray.storage.checkpoint import MODEL
    from focus_ray.storage.manifest import check_replaceable

    check_replaceable(out, MODEL)
    exported = model.load(folder)
    if mask_bias:
        exported = model.shift_masks(exported, mask_bias)
    model.save(out, exported, half=half, copy_face=not half)
    size = sum(path.stat().st_size for path in out.iterdir())
    typer.echo(f"{size / 1e6:.1f} MB: {out}")
    if as_json:
        echo_json({"out": str(out), "bytes": size, "half": half})


@model_app.command("appearance")
def model_appearance(
    photographs: Annotated[
        Path, typer.Argument(metavar="DIR", help="Photographs of open faces, such as portraits/train.")
    ],
    model: Annotated[
        Path, typer.Option(metavar="DIR", parser=parse_folder, help="Model folder that the prior is written into.")
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=v", help="One setting of the refinement of photographs; repeatable."),
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    as_json: AsJson = False,
) -> None:
    """Learn from photographs of open faces how light and residuals vary, for the refinement of photographs.

    docs/method.md describes the refinement; its settings are stored in the model.
    """
    from focus_ray import terminal
    from focus_ray.config import resolve_settings
    from focus_ray.data.detectors.by_name import resolve_detector
    from focus_ray.data.picture_folder import list_pictures
    from focus_ray.inference.learn_appearance import DEFAULT_SETTINGS, store_appearance

    settings = resolve_settings(DEFAULT_SETTINGS, "focus_ray/focus/photo_fit.py", None, assignments or [], {})
    built = resolve_detector(detector, detector_weights).build()
    paths = list_pictures(photographs).pictures
    with terminal.TerminalProgress() as progress:
        faces = store_appearance(model, paths, built, progress.on_progress, settings)
    typer.echo(f"appearance of {faces} open faces: {model}")
    if as_json:
        echo_json({"model": str(model), "faces": faces})


@model_app.command("calibrate")
def model_calibrate(
    composites: Annotated[
        Path, typer.Argument(metavar="COMPOSITES", help="Folder of `data occlude`, to choose the limits on.")
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="DIR", help="Composites of other persons to report on; default: half of the persons."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="MODEL", help=MODEL_HELP)] = None,
    out: Annotated[Path, typer.Option(metavar="JSON", help="File for the limits and figures.")] = Path("quality.json"),
    store: Annotated[bool, typer.Option("--store", help="Also write quality.json into the model folder.")] = False,
    refine: Annotated[
        int | None, typer.Option(min=0, metavar="STEPS", help="Refinement steps; default: the model's own number.")
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    as_json: AsJson = False,
) -> None:
    """Choose the limits of the quality flags on composites, and report how often the flags are right.

    docs/evaluation.md describes what counts as wrong, and the cases beside the composites.
    """
    from focus_ray import terminal
    from focus_ray.data.detectors.by_name import resolve_detector
    from focus_ray.evaluation.calibration.calibrate import calibrate
    from focus_ray.evaluation.calibration.calibration_report import calibration_tables

    if store and model is not None and model.startswith(HUB_PREFIX):
        raise ConfigError(
            f"--store cannot write to {model}; export it to a folder first, with `focus-ray model export`"
        )
    folder = find_model(model)
    spec = resolve_detector(detector, detector_weights)
    with terminal.TerminalProgress() as progress:
        result = calibrate(
            composites,
            folder,
            out,
            report=report,
            detector=spec,
            refine_steps=refine,
            store=store,
            progress=progress.on_progress,
        )
    typer.echo("\n".join(table.to_text() for table in calibration_tables(result)))
    typer.echo(f"limits: {out}")
    if as_json:
        echo_json(result)
