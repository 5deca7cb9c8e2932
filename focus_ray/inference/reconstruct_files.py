"""Reconstruction of image files and folders into a results folder.

OUT/results.json        [{image, status, message, folder, faces}], including what was left out of folders
OUT/contact_sheet.png   every picture: box, overlay, mask, the head from two views
OUT/landmarks.csv       the model's 68 landmarks of each picture's first face, as `train --landmarks` reads them; names
                        are relative to the folder that holds all pictures
OUT/blendshapes.csv     curves of ARKit's blendshapes, of each picture's first face, as Live Link Face writes them; only
                        of models whose face has these shapes
OUT/<file name>/face-0/ face.json overlay.png mask.png mesh.obj ..., mesh-corrected.obj with a misfit prior;
                        mesh.mtl and mesh.png for the texture of mesh.obj
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

from focus_ray.data.detectors.detection import Detector
from focus_ray.data.image_file import path_text, read_image
from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks, write_landmarks
from focus_ray.data.picture_folder import Listing, list_pictures
from focus_ray.errors import ConfigError, DataError, LandmarkError, printable
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.parameters import N_PARAMETERS
from focus_ray.geometry import mesh_writer
from focus_ray.geometry.mesh_writer import Mesh
from focus_ray.inference.contact_sheet import ContactSheet
from focus_ray.inference.face_locations import Box, parse_box
from focus_ray.inference.face_result import Face, FaceResult
from focus_ray.inference.live_link import encode_live_link
from focus_ray.inference.matte import face_matte
from focus_ray.inference.morph_targets import add_morph_targets
from focus_ray.inference.overlay import MAX_OVERLAY_PX, draw_overlay, encode_png, shrink_to_fit
from focus_ray.inference.reconstructor import (
    ReconstructionSettings,
    Reconstructor,
    check_refine,
    face_to_theta,
    load,
)
from focus_ray.inference.texture import TextureKind, check_texture, texture_meshes
from focus_ray.storage import atomic

logger = logging.getLogger(__name__)

RESULTS, CONTACT_SHEET, LANDMARKS, BLENDSHAPES = "results.json", "contact_sheet.png", "landmarks.csv", "blendshapes.csv"
# The only files in a face's folder: a folder with other files is neither replaced nor removed.
_MESH_SUFFIXES = "|".join((*mesh_writer.ENCODERS, "mtl", "png"))
_FACE_FILE = re.compile(rf"face\.json|overlay\.png|mask\.png|mesh(-corrected)?\.({_MESH_SUFFIXES})")
_MAX_NAME_BYTES = 200  # bytes of a folder's name: file systems stop at 255, and a folder being written has a longer one

LandmarksByName = dict[str, Float[np.ndarray, "68 2"]]


class ImageResult(BaseModel):
    r"""Result of one picture.

    Bytes of a name that are not UTF-8, which JSON cannot hold, are written as \xNN in `image` and `folder`.

    Attributes:
        image: path of the picture as it was given.
        status: "left_out" means something in a folder that is not read as a picture.
        message: reason of any status but "ok"; a word or two for "left_out".
        folder: folder of the faces, relative to OUT.
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
        """Return the picture's landmarks in a landmark file, by any of its names; None if the file has none."""
        return next(
            (points for name in self.names if (points := find_landmarks(given_landmarks, name)) is not None), None
        )

    @property
    def names(self) -> list[str]:
        """Names that a landmark file may use: the path inside the folder of all pictures, or the file name."""
        return list(dict.fromkeys([self.name, self.path.name]))


def reconstruct_paths(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Reconstructor | None = None,
    detector: Detector | None = None,
    landmarks: str | Path | None = None,
    box: Box | None = None,
    refine: int | None = None,
    formats: Sequence[str] = ("obj",),
    texture: TextureKind = "photo",
    prior: str | Path | None = None,
    recursive: bool = False,
    settings: ReconstructionSettings | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> list[ImageResult]:
    """Reconstruct pictures, and the pictures of folders, and write the results to a folder.

    A picture that cannot be read gets status error, one without a face no_face, and the run continues. Earlier results
    in `out` are replaced: the folders listed in its results.json are removed, unless they hold other files.

    Args:
        paths: pictures and folders.
        out: folder of the results.
        model: a model folder or a loaded model; None is the default model of the package.
        detector: None is the detector "auto"; ignored if `model` is loaded.
        landmarks: landmark file (path inside the folder of all pictures, or file name, in the first column). Faces of
            pictures that it does not name are detected; lines that name no picture are counted in a warning.
        box: x, y, width, height of the face, px, for a single picture; it takes precedence over `landmarks`.
        refine: refinement steps; None is the model's own number.
        formats: formats of the meshes, of mesh_writer.ENCODERS.
        texture: of OBJ and GLB files: from the picture with its light ("photo") or without ("albedo"), or "none" for
            the fitted albedo as colours of the vertices, which PLY files always have.
        prior: misfit prior (see `reconstructor.load`), which adds a corrected mesh for each face; ignored if `model` is
            loaded.
        recursive: whether the pictures in subfolders count too, except for those in `out`.
        settings: None is the defaults; ignored if `model` is loaded.
        progress: called with "pictures", the number done and the number of all.

    Returns:
        One result for each picture, then one with status left_out for everything in a folder that is not a picture.

    Raises:
        ConfigError: an option is invalid or excludes another, or `out` holds something other than results.
        DataError: there are no pictures.
        LandmarkError: the landmark file is malformed or names none of the pictures.
        ModelError: the prior was measured for another model or number of steps.
        CheckpointError: the model or prior is damaged.
        StorageError: the results cannot be written.
    """
    out = Path(out)
    _check_formats(formats)
    check_texture(texture)
    check_refine(refine)
    inputs, left_out = _collect_inputs([Path(path) for path in paths], recursive, out)
    if box is not None and len(inputs) != 1:
        raise ConfigError(f"one box is given for {len(inputs)} pictures; give a box with a single picture only")
    box = None if box is None else parse_box(box)
    given = {} if landmarks is None else read_landmarks(landmarks)
    if given and box is None:
        _check_landmarks(given, inputs)
    _check_out(out, inputs, landmarks)
    reconstructor = model if isinstance(model, Reconstructor) else load(model, detector, prior=prior, settings=settings)
    run = _BatchRun(reconstructor, out, given, box, refine, tuple(formats), texture)
    try:
        for done, one in enumerate(inputs):
            if progress is not None:
                progress("pictures", done, len(inputs))
            run.add(one)
        run.results += left_out
        run.remove_previous()
    finally:  # results from before an interruption are kept
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
    """Fit the faces of pictures and of the pictures of folders; pictures that cannot be read are skipped.

    Args:
        paths: pictures and folders.
        model: a model folder or a loaded model; None is the default model of the package.
        landmarks: landmark file, as for `reconstruct_paths`.
        progress: called with "pictures", the number done and the number of all.

    Returns:
        The parameters of all faces, in the order of the pictures.

    Raises:
        DataError: there are no pictures.
        LandmarkError: the landmark file is malformed.
        CheckpointError: the model is damaged.
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
    return torch.cat([torch.zeros(0, N_PARAMETERS), *(face_to_theta(face) for face, _ in found)])


class _BatchRun:
    """The state of one call: results so far, their contact sheet and their landmarks."""

    def __init__(
        self,
        reconstructor: Reconstructor,
        out: Path,
        given_landmarks: LandmarksByName,
        box: Box | None,
        refine: int | None,
        formats: tuple[str, ...],
        texture: TextureKind,
    ):
        self.reconstructor = reconstructor
        self.out = out
        self.given_landmarks = given_landmarks
        self.box = box
        self.refine = refine
        self.formats = formats
        self.texture: TextureKind = texture if set(formats) & set(mesh_writer.TEXTURED) else "none"
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
            faces = self._write_faces(item, image, faces)
            self.predicted_landmarks.setdefault(item.name, np.array(faces[0].face.landmarks))
        if not faces:
            _remove_result(self.out / item.folder)
        if status == "no_face":
            message = "no face was found; crop the picture to the face if it is small, or give its landmarks or its box"
        folder = item.folder if faces else None
        self.results.append(
            ImageResult(
                image=path_text(item.path),
                status=status,
                message=message,
                folder=folder,
                faces=[face for face, _ in faces],
            )
        )
        self.sheet.add(f"{printable(item.folder)}: {_caption(status, faces)}", image, faces)

    def _reconstruct(self, item: _Input, image: UInt8[np.ndarray, "H W 3"]) -> list[FaceResult]:
        points = item.find_landmarks(self.given_landmarks)
        if self.box is not None:
            points = None
        return self.reconstructor.reconstruct(image, landmarks=points, box=self.box, refine=self.refine)

    def _write_faces(
        self, item: _Input, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult]
    ) -> list[FaceResult]:
        """Write the files of the faces of a picture; returns the faces with the meshes of the files."""
        written = []
        face_model, camera = self._focus.face_model, self._focus.renderer.camera
        small, adapted = shrink_to_fit(image, faces, MAX_OVERLAY_PX)
        with atomic.new_folder(self.out / item.folder) as folder:
            for number, (result, shown) in enumerate(zip(faces, adapted, strict=True)):
                place = folder / f"face-{number}"
                place.mkdir()
                (place / "face.json").write_text(result.face.model_dump_json(indent=1) + "\n")
                overlay = draw_overlay(small, [shown], face_model, camera).image
                (place / "overlay.png").write_bytes(encode_png(overlay))
                mask = face_matte(image, result, face_model, camera).mask_image(*image.shape[:2])
                (place / "mask.png").write_bytes(encode_png(mask))
                arrays = texture_meshes(image, result, face_model, camera, self.texture)
                written.append(FaceResult(result.face, arrays))
                if "glb" in self.formats:
                    arrays = add_morph_targets(written[-1], face_model).arrays
                self._write_mesh(place, "mesh", arrays.mesh)
                if arrays.corrected_mesh is not None:
                    self._write_mesh(place, "mesh-corrected", arrays.corrected_mesh)
        return written

    def _write_mesh(self, folder: Path, stem: str, mesh: Mesh) -> None:
        for kind in self.formats:
            for name, content in mesh_writer.encode_files(mesh, stem, kind).items():
                (folder / name).write_bytes(content)

    def remove_previous(self) -> None:
        """Remove the folders of an earlier run that this run does not list, unless they hold other files."""
        current = {result.folder for result in self.results}
        for row in self.previous_rows:
            if row["folder"] not in current:
                _remove_result(self.out / row["folder"])

    def write(self) -> None:
        """Write the list of results, contact sheet and landmarks; earlier results that still exist stay listed."""
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
            _remove_file(self.out / LANDMARKS)
        first = [result.faces[0] if result.faces else None for result in self.results if result.status != "left_out"]
        if any(face is not None and face.arkit is not None for face in first):
            atomic.write_file(self.out / BLENDSHAPES, encode_live_link(first))
        else:
            _remove_file(self.out / BLENDSHAPES)


def _check_formats(formats: Sequence[str]) -> None:
    for kind in formats:
        if kind not in mesh_writer.ENCODERS:
            raise ConfigError(f"there is no mesh format {kind!r}; choose from {', '.join(mesh_writer.ENCODERS)}")


def _collect_inputs(
    paths: Sequence[Path], recursive: bool = False, out: Path | None = None
) -> tuple[list[_Input], list[ImageResult]]:
    """Return the pictures, each with its own results folder, and what was left out of the folders."""
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
    taken = {RESULTS, CONTACT_SHEET, LANDMARKS, BLENDSHAPES}
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
    """Return the name, with a number appended if another picture has it already (also if only its case differs).

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
            "the landmark file has no line for any of the pictures: its first name is "
            f"{printable(next(iter(given_landmarks)))[:80]}, the first picture is "
            f"{printable(inputs[0].name)[:80]}; write file names in the first column"
        )


def _check_out(out: Path, inputs: Sequence[_Input], landmarks: str | Path | None) -> None:
    """Check that only earlier results would be replaced.

    Raises:
        ConfigError: a file or folder that is not an earlier result would be replaced.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{printable(out)} is a file; choose another folder for results")
    if landmarks is not None and (out / LANDMARKS).exists() and (out / LANDMARKS).samefile(landmarks):
        raise ConfigError(
            f"{printable(landmarks)} would be overwritten by the predicted landmarks; choose another folder"
        )
    taken = [out / one.folder for one in inputs if not _may_be_replaced(out / one.folder)]
    if not _is_list_of_results(out / RESULTS):
        taken += [out / name for name in (RESULTS, CONTACT_SHEET, LANDMARKS, BLENDSHAPES) if (out / name).exists()]
    if taken:
        raise ConfigError(f"{printable(taken[0])} exists and is not a result; choose another folder for results")


def _may_be_replaced(target: Path) -> bool:
    return not target.exists() or (target.is_dir() and all(_is_result(child) for child in target.iterdir()))


def _is_list_of_results(path: Path) -> bool:
    """Return whether a file is the results.json of an earlier run."""
    rows = _read_json(path)
    return isinstance(rows, list) and all(isinstance(row, dict) and {"image", "status"} <= row.keys() for row in rows)


def _earlier_results(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier run that name a folder directly beside the file."""
    rows = _read_json(path) if _is_list_of_results(path) else []
    return [row for row in rows if isinstance(row.get("folder"), str) and _is_plain_name(row["folder"])]


def _is_plain_name(text: str) -> bool:
    return "\0" not in text and text not in ("", ".", "..") and Path(text).name == text


def _read_json(path: Path) -> Any:
    """Read a JSON file; None if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _remove_result(target: Path) -> None:
    """Remove the folder of a picture's earlier results if it exists and holds nothing else."""
    if target.is_dir() and not target.is_symlink() and _may_be_replaced(target):
        with atomic.translate_os_errors(target):
            shutil.rmtree(target)


def _remove_file(path: Path) -> None:
    with atomic.translate_os_errors(path):
        path.unlink(missing_ok=True)


def _is_result(path: Path) -> bool:
    if not (path.is_dir() and path.name.startswith("face-") and (path / "face.json").is_file()):
        return False
    return all(_FACE_FILE.fullmatch(child.name) for child in path.iterdir())


def _caption(status: str, faces: Sequence[FaceResult]) -> str:
    if not faces:
        return status.replace("_", " ")
    hidden = ", ".join(f"{100 * face.occlusion_fraction:.0f}%" for face, _ in faces)
    return f"{len(faces)} face{'s' * (len(faces) > 1)}, occluded {hidden}"
