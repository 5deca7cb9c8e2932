"""focus-ray face import, info, show."""

from pathlib import Path
from typing import Annotated

import typer

from focus_ray.cli.apps import AsJson, face_app
from focus_ray.cli.printing import echo_json, echo_record
from focus_ray.errors import ConfigError

Face = Annotated[str, typer.Argument(metavar="FACE", help="ict, or a file that `face import` wrote.")]


@face_app.command("import")
def face_import(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="ict, bfm, flame, flame2023-open, eos or gnm.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder of the face model as published.")],
    out: Annotated[Path, typer.Option(metavar="FACE", help="File to write, for example bfm2017.face.")],
    landmarks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The 68 landmarks on the mesh, for formats that do not contain them."),
    ] = None,
    licence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Licence text that came with the face model, to travel with it.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Keep all vertices of BFM and GNM, not the face alone.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the bases as float16: half the size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a published face model and write it as one safe file, with its licence.

    docs/face-models.md lists the formats.
    """
    from focus_ray.face_models.importers.by_name import IMPORTERS
    from focus_ray.face_models.importers.import_options import ImportOptions
    from focus_ray.face_models.importers.source_model import assemble
    from focus_ray.focus.parameters import THETA_MODES
    from focus_ray.storage import atomic

    if kind not in IMPORTERS:
        raise ConfigError(f"there is no importer {kind!r}; choose from {', '.join(IMPORTERS)}")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; give the name of a file")
    options = ImportOptions(landmarks=landmarks, crop=not whole, licence=licence, modes=THETA_MODES)
    model = assemble(IMPORTERS[kind](path, options), THETA_MODES)
    atomic.write_file(out, model.to_bytes(half=half))
    typer.echo(f"{model.n_vertices} vertices, {out.stat().st_size / 1e6:.1f} MB: {out}")
    if model.provenance is not None:
        typer.echo("\n".join(model.provenance.notes))
    if as_json:
        echo_json({"face": str(out), "bytes": out.stat().st_size, **model.description()})


@face_app.command("info")
def face_info(face: Face = "ict", as_json: AsJson = False) -> None:
    """Check a face model and print its sizes, origin and licence."""
    from focus_ray.face_models.by_name import load_face

    model = load_face(face)
    sizes = {
        "vertices": model.n_vertices,
        "triangles": len(model.faces),
        "modes": [model.n_identity, model.n_expression, model.n_albedo],
        "parts": {name: int(mask.sum()) for name, mask in model.parts.items()},
    }
    echo_record({"face": face, **sizes, "info": model.description()}, as_json)


@face_app.command("show")
def face_show(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures.")],
    face: Face = "ict",
    size: Annotated[int, typer.Option(min=64, max=1024, help="Side of each rendering, px.")] = 224,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random faces.")] = 0,
) -> None:
    """Draw random faces, modes, named expressions, parts and landmarks of a face model."""
    from focus_ray.face_models.by_name import load_face
    from focus_ray.inference.face_model_pictures import draw_face_model

    model = load_face(face)
    out.mkdir(parents=True, exist_ok=True)
    for name, sheet in draw_face_model(model, size, seed).items():
        sheet.save(out / f"{name}.png")
        typer.echo(str(out / f"{name}.png"))
