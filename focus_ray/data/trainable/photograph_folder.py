"""Folders of photographs: with landmarks.csv or without landmarks, and with the five points of Deep3D's layout."""

from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Float

from focus_ray.data.detectors.detection import bounding_box
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.photo_split import name_persons
from focus_ray.data.photos import LANDMARK_FILE
from focus_ray.data.picture_source import PictureSource, open_picture_source
from focus_ray.data.sources.files import list_files, read_text
from focus_ray.data.spelling import stored_spelling
from focus_ray.data.trainable.trainable_set import Box, FileVersions, TrainableFace, TrainableSet, hash_points
from focus_ray.errors import DataError, printable

DETECTIONS = "detections"
_POINTS = 5


def open_folder(location: str) -> TrainableSet:
    """Open a folder of photographs; pictures that its landmarks.csv does not name get the landmarks of a detector.

    Raises:
        DataError: there is no such folder, or it has no pictures.
        LandmarkError: landmarks.csv is malformed.
        StorageError: the store does not answer.
    """
    source = open_picture_source(location)
    names = _list_pictures(source)
    given = read_landmarks(f"{source}/{LANDMARK_FILE}") if source.holds(LANDMARK_FILE) else {}
    points = {stored_spelling(source, name): one for name, one in given.items()}
    versions = FileVersions(source)
    faces = [
        TrainableFace(
            name, name, person, "", versions(name) + (f" {hash_points(points[name])}" if name in points else "")
        )
        for name, person in zip(names, name_persons(names), strict=True)
    ]
    annotated = points.keys() >= set(names)
    return TrainableSet(source, faces, annotated=annotated, landmarks=lambda face: points.get(face.name))


def open_deep3d(location: str) -> TrainableSet:
    """Open folders as Deep3DFaceRecon_pytorch has them: NAME.jpg or .png, and detections/NAME.txt with five points.

    Pictures without that file are left out. The five points tell which face is meant; 68 points are a detector's.

    Raises:
        DataError: there is no such folder, or no picture has its five points.
        StorageError: the store does not answer.
    """
    source = open_picture_source(location)
    names = _list_pictures(source)
    texts = set(list_files(source))
    files = {name: _points_file(name) for name in names}
    known = [name for name in names if files[name] in texts]
    if not known:
        raise DataError(
            f"{source}: none of its {len(names)} pictures has its five points in {DETECTIONS}/NAME.txt beside it, as "
            "Deep3DFaceRecon_pytorch lays them out; use the kind folder for pictures without points"
        )
    versions = FileVersions(source)
    faces = [
        TrainableFace(name, name, person, "", versions(name, files[name]))
        for name, person in zip(known, name_persons(known), strict=True)
    ]

    def box(face: TrainableFace) -> Box:
        return bounding_box(read_five_points(f"{source}/{files[face.name]}"))

    left_out = {name: "no_five_points" for name in names if name not in set(known)}
    return TrainableSet(source, faces, left_out, box=box)


def read_five_points(path: str) -> Float[np.ndarray, "5 2"]:
    """Read the five points of a picture: eyes, nose, mouth corners, a line of x and y each.

    Args:
        path: file, or s3://bucket/key.

    Returns:
        Points, px.

    Raises:
        DataError: the file is missing or malformed.
        StorageError: the store does not answer.
    """
    lines = [line.replace(",", " ").split() for line in read_text(path).splitlines() if line.strip()]
    try:
        points = np.array([[float(word) for word in words] for words in lines])
    except ValueError:
        points = np.empty(0)
    if points.shape != (_POINTS, 2) or not np.isfinite(points).all() or not np.ptp(points, axis=0).all():
        raise DataError(f"{printable(path)}: there are not five lines of x and y; write the five points again")
    return points


def _points_file(name: str) -> str:
    path = PurePosixPath(name)
    return (path.parent / DETECTIONS / f"{path.stem}.txt").as_posix()


def _list_pictures(source: PictureSource) -> list[str]:
    names = list(source.list_pictures(recursive=True).versions)
    if not names:
        raise DataError(f"{source}: there are no pictures; give a folder of JPEG, PNG, WebP, BMP or HEIC files")
    return names
