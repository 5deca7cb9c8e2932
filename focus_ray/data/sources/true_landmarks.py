"""Pictures of a folder with their true landmarks: of a landmark file, or of a .pts or .mat file beside each picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks
from focus_ray.data.picture_folder import list_pictures
from focus_ray.data.sources.aflw2000 import read_mat
from focus_ray.data.sources.pts_file import read_pts
from focus_ray.errors import DataError, LandmarkError

LANDMARK_FILE = "landmarks.csv"
PTS, MAT = ".pts", ".mat"


class TrueFace(NamedTuple):
    """The 68 true landmarks of a picture [px], and the yaw of the face [degrees] if its file has it."""

    points: Float[np.ndarray, "68 2"]
    yaw: float | None = None


@dataclass
class TrueLandmarks:
    """Pictures with true landmarks.

    Attributes:
        folder: folder of the pictures.
        faces: true landmarks by picture name, relative to the folder.
        unknown: names of the pictures without landmarks.
        problems: a line for each landmark file that cannot be used, and for lines that belong to no picture.
    """

    folder: Path
    faces: dict[str, TrueFace] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def open_true_landmarks(folder: Path, landmarks: Path | None = None, exclude: Path | None = None) -> TrueLandmarks:
    """Find the pictures of a folder and of its subfolders, and read their true landmarks.

    Args:
        folder: folder of the pictures.
        landmarks: landmark file (see landmark_csv); None: landmarks.csv in the folder; if there is none, the .pts or
            else the .mat file beside each picture that has the name of the picture.
        exclude: folder to leave out.

    Returns:
        The pictures that have landmarks, and what is missing.

    Raises:
        DataError: there is no such folder, or it has no pictures.
        LandmarkError: the landmark file is malformed, or no picture has landmarks that can be read.
    """
    pictures = _list_names(folder, exclude)
    if landmarks is None and (folder / LANDMARK_FILE).is_file():
        landmarks = folder / LANDMARK_FILE
    found = TrueLandmarks(folder)
    given = {} if landmarks is None else read_landmarks(landmarks)
    for name in pictures:
        try:
            face = read_beside(folder / name) if landmarks is None else _look_up(given, name)
        except LandmarkError as error:
            found.problems.append(str(error))
            continue
        if face is None:
            found.unknown.append(name)
        else:
            found.faces[name] = face
    if not found.faces:
        raise LandmarkError(found.problems[0] if found.problems else _describe_missing(folder, landmarks))
    unused = describe_unused_lines(given, pictures)
    found.problems += [unused] if unused else []
    return found


def _list_names(folder: Path, exclude: Path | None) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of pictures; check the path")
    try:
        pictures = list_pictures(folder, recursive=True, exclude=exclude).pictures
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}); check its permissions") from None
    if not pictures:
        raise DataError(f"{folder}: there are no pictures; give a folder of JPEG, PNG, WebP, BMP or HEIC files")
    return [path.relative_to(folder).as_posix() for path in pictures]


def _look_up(given: Mapping[str, Float[np.ndarray, "68 2"]], name: str) -> TrueFace | None:
    points = find_landmarks(given, name)
    return None if points is None else TrueFace(points)


def read_beside(picture: Path) -> TrueFace | None:
    """Read the .pts or .mat file beside a picture.

    Args:
        picture: path of the picture.

    Returns:
        Landmarks and yaw; None if there is no such file.

    Raises:
        LandmarkError: the file is malformed.
    """
    if (path := picture.with_suffix(PTS)).is_file():
        return TrueFace(read_pts(path))
    if (path := picture.with_suffix(MAT)).is_file():
        return TrueFace(*read_mat(path))
    return None


def _describe_missing(folder: Path, landmarks: Path | None) -> str:
    if landmarks is not None:
        return f"{landmarks}: none of its lines names a picture of {folder}; write names relative to the folder"
    return (
        f"{folder}: no picture has true landmarks; give {LANDMARK_FILE}, or a {PTS} or {MAT} file beside each picture"
    )
