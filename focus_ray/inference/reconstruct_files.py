"""Reconstructing the pictures of files and folders into a results folder.

OUT/results.json        [{image, status, message, folder, faces}], what was left out of folders as well
OUT/contact_sheet.png   every picture: box, overlay, mask
OUT/landmarks.csv       the model's 68 landmarks of each picture's first face, as `train --landmarks` reads them; names
                        are relative to the folder that holds all pictures
OUT/<file name>/face-0/ face.json overlay.png mask.png mesh.obj ..., mesh-corrected.obj with a misfit prior
"""

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import BaseModel
from torch import Tensor

from focus_ray.data.image_file import path_text, read_image
from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks, write_landmarks
from focus_ray.data.picture_folder import Listing, list_pictures
from focus_ray.errors import ConfigError, DataError, LandmarkError, printable
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.parameters import N_PARAMETERS
from focus_ray.geometry import mesh_writer
from focus_ray.inference.face_locations import Box, parse_box
from focus_ray.inference.face_result import Face
from focus_ray.inference.overlay import (
    MAX_OVERLAY_PX,
    ContactSheet,
    draw_overlay,
    encode_png,
    image_mask,
    require_arrays,
    shrink_to_fit,
)
from focus_ray.inference.reconstructor import Reconstructor, check_refine, face_to_theta, load
from focus_ray.storage import atomic

logger = logging.getLogger(__name__)

RESULTS, CONTACT_SHEET, LANDMARKS = "results.json", "contact_sheet.png", "landmarks.csv"
# What a face's folder holds and nothing else: only such a folder is replaced or removed.
_FACE_FILE = re.compile(rf"face\.json|overlay\.png|mask\.png|mesh(-corrected)?\.({'|'.join(mesh_writer.ENCODERS)})")
_MAX_NAME_BYTES = 200  # bytes of a folder's name: file systems stop at 255, and a folder being written has a longer one

LandmarksByName = dict[str, Float[np.ndarray, "68 2"]]


class ImageResult(BaseModel):
    """Result of one picture. image is its path as it was given; folder is where its faces lie, under OUT.

    left_out: something in a folder that is not read as a picture; message is the reason, in a word or two.
    Bytes of a name that are not UTF-8, which JSON cannot hold, stand as \\xNN in both.
    """

    image: str
    status: Literal["ok", "no_face", "error", "left_out"]
    message: str = ""
    folder: str | None = None
    faces: list[Face] = []


@dataclass(frozen=True)
class _Input:
    """A picture, its name in a landmark file, and the folder of its results under OUT."""

    path: Path
    name: str
    folder: str

    def find_landmarks(self, given_landmarks: LandmarksByName) -> Float[np.ndarray, "68 2"] | None:
        """Its landmarks in a file, by any of its names there."""
        return next(
            (points for name in self.names if (points := find_landmarks(given_landmarks, name)) is not None), None
        )

    @property
    def names(self) -> list[str]:
        """How a landmark file may name it: by its path inside the folder of all pictures, or by its file name."""
        return list(dict.fromkeys([self.name, self.path.name]))


def reconstruct_paths(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Reconstructor | None = None,
    landmarks: str | Path | None = None,
    box: Box | None = None,
    refine: int | None = None,
    formats: Sequence[str] = ("obj",),
    prior: str | Path | None = None,
    recursive: bool = False,
    progress: Callable[[str, int, int], object] | None = None,
) -> list[ImageResult]:
    """Reconstruct pictures, and the pictures directly in folders; one result each, also written to `out`.

    With `recursive` the pictures in subfolders count too, but for those in `out`. What lies in a folder and is no
    picture gets a result with status left_out.

    Pictures named in the `landmarks` file (by path inside the folder of all of them, or by file name) are aligned by
    it, a single picture by its `box`; in all others faces are detected. Lines that name none of them are counted in a
    warning. A picture that cannot be read is a result with status error, one without a face has status no_face, and the
    run goes on. Earlier results in `out` are replaced: the folders that its results.json lists are removed, unless
    something else was put there.
    With a misfit `prior` (see `reconstructor.load`), a corrected mesh lies beside the mesh of each face.
    Raises ConfigError for options that do not fit together and where `out` holds something else, DataError where there
    is nothing to do, LandmarkError for a landmark file that is malformed or names none of the pictures, CheckpointError
    for a damaged model, StorageError where the disk refuses.
    """
    out = Path(out)
    _check_formats(formats)
    check_refine(refine)
    inputs, left_out = _collect_inputs([Path(path) for path in paths], recursive, out)
    if box is not None and len(inputs) != 1:
        raise ConfigError(f"a box was given for {len(inputs)} pictures; give it with a single picture")
    box = None if box is None else parse_box(box)
    given = {} if landmarks is None else read_landmarks(landmarks)
    if given and box is None:
        _check_landmarks(given, inputs)
    _check_out(out, inputs, landmarks)
    reconstructor = model if isinstance(model, Reconstructor) else load(model, prior=prior)
    run = _BatchRun(reconstructor, out, given, box, refine, tuple(formats))
    try:
        for done, one in enumerate(inputs):
            if progress is not None:
                progress("pictures", done, len(inputs))
            run.add(one)
        run.results += left_out
        run.remove_previous()
    finally:  # what was done before an interruption is kept
        run.write()
    if progress is not None:
        progress("pictures", len(inputs), len(inputs))
    return run.results


def fit_paths(
    paths: Sequence[str | Path],
    *,
    model: str | Path | Reconstructor | None = None,
    landmarks: str | Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Float[Tensor, "N 257"]:
    """The parameters of all faces in pictures and in the pictures of folders; what cannot be read is skipped.

    Raises DataError, LandmarkError and CheckpointError as `reconstruct_paths` does.
    """
    inputs, _ = _collect_inputs([Path(path) for path in paths])
    given = {} if landmarks is None else read_landmarks(landmarks)
    reconstructor = model if isinstance(model, Reconstructor) else load(model)
    found = []
    for done, one in enumerate(inputs, 1):
        with suppress(DataError, MemoryError):
            points = one.find_landmarks(given)
            found += reconstructor.reconstruct(read_image(one.path), landmarks=points)
        if progress is not None:
            progress("pictures", done, len(inputs))
    return torch.cat([torch.zeros(0, N_PARAMETERS), *(face_to_theta(face) for face in found)])


class _BatchRun:
    """The state of one call: results so far, their sheet and their landmarks."""

    def __init__(
        self,
        reconstructor: Reconstructor,
        out: Path,
        given_landmarks: LandmarksByName,
        box: Box | None,
        refine: int | None,
        formats: tuple[str, ...],
    ):
        self.reconstructor = reconstructor
        self.out = out
        self.given_landmarks = given_landmarks
        self.box = box
        self.refine = refine
        self.formats = formats
        self.results: list[ImageResult] = []
        self.sheet = ContactSheet(self._focus.face_model, self._focus.renderer.camera)
        self.predicted_landmarks: LandmarksByName = {}
        self.previous_rows = _earlier_results(out / RESULTS)

    @property
    def _focus(self) -> Focus:
        return self.reconstructor.model.focus

    def add(self, item: _Input) -> None:
        """Reconstruct one picture and write its faces."""
        image, faces, message = None, [], ""
        try:
            image = read_image(item.path)
            faces = self._reconstruct(item, image)
        except (ConfigError, DataError, MemoryError) as error:
            message = str(error) or "the picture does not fit into memory; scale it down"
        status: Literal["ok", "no_face", "error"] = "error" if message else ("ok" if faces else "no_face")
        if faces and image is not None:
            self._write_faces(item, image, faces)
            self.predicted_landmarks.setdefault(item.name, np.array(faces[0].landmarks))
        if not faces:
            _remove_result(self.out / item.folder)
        if status == "no_face":
            message = "no face was found; cut the picture to the face if it is small, or give its landmarks or its box"
        folder = item.folder if faces else None
        self.results.append(
            ImageResult(image=path_text(item.path), status=status, message=message, folder=folder, faces=faces)
        )
        self.sheet.add(f"{printable(item.folder)}: {_caption(status, faces)}", image, faces)

    def _reconstruct(self, item: _Input, image: UInt8[np.ndarray, "H W 3"]) -> list[Face]:
        points = item.find_landmarks(self.given_landmarks)
        if self.box is not None:
            points = None
        return self.reconstructor.reconstruct(image, landmarks=points, box=self.box, refine=self.refine)

    def _write_faces(self, item: _Input, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Face]) -> None:
        small, adapted = shrink_to_fit(image, faces, MAX_OVERLAY_PX)
        with atomic.new_folder(self.out / item.folder) as folder:
            for number, (face, shown) in enumerate(zip(faces, adapted, strict=True)):
                place = folder / f"face-{number}"
                place.mkdir()
                (place / "face.json").write_text(face.model_dump_json(indent=1) + "\n")
                overlay = draw_overlay(small, [shown], self._focus.face_model, self._focus.renderer.camera).image
                (place / "overlay.png").write_bytes(encode_png(overlay))
                mask = image_mask(face, *image.shape[:2]).astype(np.uint8) * np.uint8(255)
                (place / "mask.png").write_bytes(encode_png(mask))
                arrays = require_arrays(face)
                for kind in self.formats:
                    (place / f"mesh.{kind}").write_bytes(mesh_writer.encode_mesh(arrays.mesh, kind))
                    if arrays.corrected_mesh is not None:
                        (place / f"mesh-corrected.{kind}").write_bytes(
                            mesh_writer.encode_mesh(arrays.corrected_mesh, kind)
                        )

    def remove_previous(self) -> None:
        """Remove the folders that an earlier run listed and this one does not; they hold results and nothing else."""
        current = {result.folder for result in self.results}
        for row in self.previous_rows:
            if row["folder"] not in current:
                _remove_result(self.out / row["folder"])

    def write(self) -> None:
        """The list of results, the contact sheet and the landmarks; earlier results that still lie there are listed."""
        rows = [result.model_dump(mode="json") for result in self.results]
        current = {result.folder for result in self.results}
        rows += [
            row for row in self.previous_rows if row["folder"] not in current and (self.out / row["folder"]).is_dir()
        ]
        atomic.write_file(self.out / RESULTS, json.dumps(rows, indent=1) + "\n")
        atomic.write_file(self.out / CONTACT_SHEET, self.sheet.to_png())
        if self.predicted_landmarks:
            write_landmarks(self.out / LANDMARKS, self.predicted_landmarks)
        else:
            with atomic.translate_os_errors(self.out / LANDMARKS):
                (self.out / LANDMARKS).unlink(missing_ok=True)


def _check_formats(formats: Sequence[str]) -> None:
    for kind in formats:
        if kind not in mesh_writer.ENCODERS:
            raise ConfigError(f"there is no mesh format {kind!r}; choose from {', '.join(mesh_writer.ENCODERS)}")


def _collect_inputs(
    paths: Sequence[Path], recursive: bool = False, out: Path | None = None
) -> tuple[list[_Input], list[ImageResult]]:
    """The pictures, folders opened, each with a results folder of its own; and what was left out of the folders."""
    named: list[Path] = []
    folders: list[Path] = []
    left_out: dict[Path, str] = {}
    for path in paths:
        listing = _list_folder(path, recursive, out)
        if listing is None:
            named.append(path)
            folders.append(path.parent)
        else:
            named += listing.pictures
            folders.append(path)
            left_out |= listing.left_out
    if not named:
        raise DataError(
            f"there are no pictures in {', '.join(printable(path) for path in paths)}"
            f"{_format_reasons(left_out.values())}; give JPEG, PNG, WebP, BMP or HEIC"
        )
    taken = {RESULTS, CONTACT_SHEET, LANDMARKS}
    folder = os.path.commonpath([os.path.abspath(place) for place in folders])
    inputs = [
        _Input(
            path, Path(os.path.abspath(path)).relative_to(folder).as_posix(), _unique_name(path_text(path.name), taken)
        )
        for path in named
    ]
    rows = [ImageResult(image=path_text(path), status="left_out", message=why) for path, why in left_out.items()]
    return inputs, rows


def _list_folder(path: Path, recursive: bool, out: Path | None) -> Listing | None:
    """List a folder; None for a file or an unreadable path (reading it later raises the error)."""
    try:
        return list_pictures(path, recursive=recursive, exclude=out) if path.is_dir() else None
    except OSError:
        return None


def _format_reasons(reasons: Iterable[str]) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).items())
    return f" ({counts})" if counts else ""


def _unique_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another picture has it already (also where only its case differs).

    A name that is too long for a folder is cut.
    """
    name = name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    free, count = name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free.casefold())
    return free


def _check_landmarks(given_landmarks: LandmarksByName, inputs: Sequence[_Input]) -> None:
    unused = describe_unused_lines(given_landmarks, (name for one in inputs for name in one.names))
    if unused is not None:
        logger.warning("%s", unused)
    if not any(one.find_landmarks(given_landmarks) is not None for one in inputs):
        raise LandmarkError(
            "the landmark file names none of the pictures: its first is "
            f"{printable(next(iter(given_landmarks)))[:80]}, the first picture "
            f"{printable(inputs[0].name)[:80]}; write file names in the first column"
        )


def _check_out(out: Path, inputs: Sequence[_Input], landmarks: str | Path | None) -> None:
    """Raises ConfigError where a file that is no earlier result would be replaced."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{printable(out)} is a file; choose another folder for results")
    if landmarks is not None and (out / LANDMARKS).exists() and (out / LANDMARKS).samefile(landmarks):
        raise ConfigError(
            f"{printable(landmarks)} would be replaced by the landmarks that are found; choose another folder"
        )
    taken = [out / one.folder for one in inputs if not _may_be_replaced(out / one.folder)]
    if not _is_list_of_results(out / RESULTS):
        taken += [out / name for name in (RESULTS, CONTACT_SHEET, LANDMARKS) if (out / name).exists()]
    if taken:
        raise ConfigError(f"{printable(taken[0])} is there already and is no result; choose another folder for results")


def _may_be_replaced(target: Path) -> bool:
    return not target.exists() or (target.is_dir() and all(_is_result(child) for child in target.iterdir()))


def _is_list_of_results(path: Path) -> bool:
    """Whether a file is the results.json of an earlier run."""
    rows = _read_json(path)
    return isinstance(rows, list) and all(isinstance(row, dict) and {"image", "status"} <= row.keys() for row in rows)


def _earlier_results(path: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run that name a folder directly beside the file."""
    rows = _read_json(path) if _is_list_of_results(path) else []
    return [row for row in rows if isinstance(row.get("folder"), str) and _is_plain_name(row["folder"])]


def _is_plain_name(text: str) -> bool:
    return "\0" not in text and text not in ("", ".", "..") and Path(text).name == text


def _read_json(path: Path) -> Any:
    """Content of a JSON file; None where it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _remove_result(target: Path) -> None:
    """Remove the faces that an earlier run found, where there are some."""
    if target.is_dir() and not target.is_symlink() and _may_be_replaced(target):
        with atomic.translate_os_errors(target):
            shutil.rmtree(target)


def _is_result(path: Path) -> bool:
    if not (path.is_dir() and path.name.startswith("face-") and (path / "face.json").is_file()):
        return False
    return all(_FACE_FILE.fullmatch(child.name) for child in path.iterdir())


def _caption(status: str, faces: Sequence[Face]) -> str:
    if not faces:
        return status.replace("_", " ")
    hidden = ", ".join(f"{100 * face.occlusion_fraction:.0f}%" for face in faces)
    return f"{len(faces)} face{'s' * (len(faces) > 1)}, occluded {hidden}"
