"""Reconstructing the pictures of files and folders into a results folder.

OUT/results.json        [{image, status, message, folder, faces}]
OUT/contact_sheet.png   every picture: box, overlay, mask
OUT/landmarks.csv       the model's 68 landmarks of each picture's first face, as `train --landmarks` reads them
OUT/<file name>/face-0/ face.json overlay.png mask.png mesh.obj ...
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import BaseModel

from focus_ray.data.image_file import is_picture, printable, read_image
from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.errors import ConfigError, DataError
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.face import mesh_file
from focus_ray.focus.face_result import Face
from focus_ray.reconstruction.pictures import (
    LARGEST_OVERLAY,
    ContactSheet,
    arrays_of,
    drawn,
    png,
    seen_in_picture,
    shrunk,
)
from focus_ray.reconstruction.reconstructor import Box, Reconstructor, load
from focus_ray.storage import atomic

RESULTS, SHEET, LANDMARKS = "results.json", "contact_sheet.png", "landmarks.csv"
_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"}

Landmarks = dict[str, Float[np.ndarray, "68 2"]]


class ImageResult(BaseModel):
    """What became of one picture. folder is where its faces lie, under OUT."""

    image: str
    status: Literal["ok", "no_face", "error"]
    message: str = ""
    folder: str | None = None
    faces: list[Face] = []


@dataclass(frozen=True)
class _Input:
    """A picture, its name in a landmark file, and the folder of its results under OUT."""

    path: Path
    name: str
    folder: str


def reconstruct_paths(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Reconstructor | None = None,
    landmarks: str | Path | None = None,
    box: Box | None = None,
    refine: int | None = None,
    formats: Sequence[str] = ("obj",),
    progress: Callable[[str, int, int], object] | None = None,
) -> list[ImageResult]:
    """Reconstruct pictures, and the pictures directly in folders; one result each, also written to `out`.

    Pictures named in the `landmarks` file (by path inside their folder, or by file name) are aligned by it, a single
    picture by its `box`; in all others faces are detected. A picture that cannot be read is a result with status
    error, one without a face has status no_face, and the run goes on.
    Raises ConfigError for options that do not fit together, DataError where there is nothing to do, LandmarkError for a
    malformed landmark file, CheckpointError for a damaged model, StorageError where the disk refuses.
    """
    out = Path(out)
    _check_formats(formats)
    inputs = _inputs([Path(path) for path in paths])
    if box is not None and len(inputs) != 1:
        raise ConfigError(f"a box was given for {len(inputs)} pictures; give it with a single picture")
    given = {} if landmarks is None else read_landmarks(landmarks)
    _check_out(out, inputs)
    reconstructor = model if isinstance(model, Reconstructor) else load(model)
    run = _Run(reconstructor, out, given, box, refine, tuple(formats))
    try:
        for done, one in enumerate(inputs):
            if progress is not None:
                progress("pictures", done, len(inputs))
            run.add(one)
    finally:  # what was done before an interruption is kept
        run.write()
    if progress is not None:
        progress("pictures", len(inputs), len(inputs))
    return run.results


class _Run:
    """The state of one call: results so far, their sheet and their landmarks."""

    def __init__(
        self,
        reconstructor: Reconstructor,
        out: Path,
        given: Landmarks,
        box: Box | None,
        refine: int | None,
        formats: tuple[str, ...],
    ):
        self.reconstructor = reconstructor
        self.out = out
        self.given = given
        self.box = box
        self.refine = refine
        self.formats = formats
        self.results: list[ImageResult] = []
        self.sheet = ContactSheet(self._focus.face_model, self._focus.renderer.camera)
        self.found: Landmarks = {}

    @property
    def _focus(self) -> Focus:
        return self.reconstructor.model.focus

    def add(self, one: _Input) -> None:
        """Reconstruct one picture and write its faces."""
        image, faces, message = None, [], ""
        try:
            image = read_image(one.path)
            faces = self._faces(one, image)
        except (DataError, MemoryError) as error:
            message = str(error) or "the picture does not fit into memory; scale it down"
        status: Literal["ok", "no_face", "error"] = "error" if message else ("ok" if faces else "no_face")
        if faces and image is not None:
            self._write_faces(one, image, faces)
            self.found.setdefault(one.name, np.array(faces[0].landmarks))
        if status == "no_face":
            message = "no face was found; give --landmarks or --box"
        folder = one.folder if faces else None
        self.results.append(
            ImageResult(image=printable(one.path), status=status, message=message, folder=folder, faces=faces)
        )
        self.sheet.add(f"{one.folder}: {_caption(status, faces)}", image, faces)

    def _faces(self, one: _Input, image: UInt8[np.ndarray, "H W 3"]) -> list[Face]:
        points = self.given.get(one.name, self.given.get(one.path.name))
        if self.box is not None:
            points = None
        return self.reconstructor.reconstruct(image, landmarks=points, box=self.box, refine=self.refine)

    def _write_faces(self, one: _Input, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Face]) -> None:
        small, adapted = shrunk(image, faces, LARGEST_OVERLAY)
        with atomic.new_folder(self.out / one.folder) as folder:
            for number, (face, shown) in enumerate(zip(faces, adapted, strict=True)):
                place = folder / f"face-{number}"
                place.mkdir()
                (place / "face.json").write_text(face.model_dump_json(indent=1) + "\n")
                overlay = drawn(small, [shown], self._focus.face_model, self._focus.renderer.camera).overlay
                (place / "overlay.png").write_bytes(png(overlay))
                mask = seen_in_picture(face, *image.shape[:2]).astype(np.uint8) * np.uint8(255)
                (place / "mask.png").write_bytes(png(mask))
                for kind in self.formats:
                    (place / f"mesh.{kind}").write_bytes(mesh_file.encode(arrays_of(face).mesh, kind))

    def write(self) -> None:
        """The list of results, the contact sheet and the landmarks."""
        rows = [result.model_dump(mode="json") for result in self.results]
        atomic.write_file(self.out / RESULTS, json.dumps(rows, indent=1) + "\n")
        atomic.write_file(self.out / SHEET, self.sheet.png())
        if self.found:
            with atomic.refusals(self.out / LANDMARKS):
                write_landmarks(self.out / LANDMARKS, self.found)


def _check_formats(formats: Sequence[str]) -> None:
    for kind in formats:
        if kind not in mesh_file.ENCODERS:
            raise ConfigError(f"there is no mesh format {kind!r}; choose from {', '.join(mesh_file.ENCODERS)}")


def _inputs(paths: Sequence[Path]) -> list[_Input]:
    """The pictures, folders opened, each with a results folder of its own."""
    named: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            named += [(child, child.name) for child in sorted(path.iterdir()) if _looks_like_picture(child)]
        else:
            named.append((path, path.name))
    if not named:
        raise DataError(
            f"there are no pictures in {', '.join(printable(path) for path in paths)}; give JPEG, PNG, WebP or BMP"
        )
    taken = {RESULTS, SHEET, LANDMARKS}
    return [_Input(path, name, _free(printable(path.name), taken)) for path, name in named]


def _looks_like_picture(path: Path) -> bool:
    """By name or by content: a text file named .jpg is reported, a README is passed over."""
    if not path.is_file() or path.name.startswith("."):
        return False
    return path.suffix.lower() in _SUFFIXES or is_picture(path)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another picture has it already (also where only its case differs)."""
    free, count = name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free.casefold())
    return free


def _check_out(out: Path, inputs: Sequence[_Input]) -> None:
    """Nothing is replaced but folders of earlier results."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{printable(out)} is a file; give another folder with --out")
    for one in inputs:
        target = out / one.folder
        if target.exists() and not (target.is_dir() and all(_is_result(child) for child in target.iterdir())):
            raise ConfigError(f"{printable(target)} is there already and is no result; give another folder with --out")


def _is_result(path: Path) -> bool:
    return path.is_dir() and path.name.startswith("face-") and (path / "face.json").is_file()


def _caption(status: str, faces: Sequence[Face]) -> str:
    if not faces:
        return status.replace("_", " ")
    hidden = ", ".join(f"{100 * face.occlusion_fraction:.0f}%" for face in faces)
    return f"{len(faces)} face{'s' * (len(faces) > 1)}, occluded {hidden}"
