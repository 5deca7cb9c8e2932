"""The NoW challenge, for evaluation: the pictures of its lists, and the boxes of detected_face."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.detected_face import FOLDER, read_detected_face
from focus_ray.data.sources.now import LISTS, NowDataset, NowPicture
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.data.trainable.trainable_set import Box, FileVersions, TrainableFace, TrainableSet, hash_points
from focus_ray.errors import DataError


def open_now_set(location: str) -> TrainableSet:
    """Open the validation and the test pictures of NoW, whichever lists are there.

    Raises:
        DataError: the folder has neither list, or is not a folder of this machine.
    """
    root = local_folder(location, "NoW")
    sets = [NowDataset(root, split) for split in LISTS if _find(root, LISTS[split]) is not None]
    if not sets:
        raise DataError(
            f"{root}: there is neither {LISTS['validation']} nor {LISTS['test']} of the NoW challenge; give the folder "
            "that its archives were unpacked in"
        )
    known = [NowPictures(dataset) for dataset in sets]
    versions, source = FileVersions(open_picture_source(root)), open_picture_source(root)
    points = {name: pictures.landmarks(name) for pictures in known for name in pictures.names}

    def make_face(one: NowPicture, split: str) -> TrainableFace:
        given = points[one.name]
        version = versions(str(one.path), str(_box_file(one.path)))
        version += "" if given is None else f" {hash_points(given)}"
        return TrainableFace(one.name, one.path.relative_to(root).as_posix(), one.subject, split, version)

    faces = {one.name: make_face(one, dataset.split) for dataset in sets for one in dataset.pictures}

    def landmarks(face: TrainableFace) -> Float[np.ndarray, "68 2"] | None:
        return points[face.name]

    def box(face: TrainableFace) -> Box | None:
        path = _box_file(root / face.file)
        return read_detected_face(path) if path.is_file() else None

    annotated = all(one is not None for one in points.values())
    return TrainableSet(source, list(faces.values()), annotated=annotated, landmarks=landmarks, box=box)


def local_folder(location: str, label: str) -> Path:
    """Return the path of a set that is read from this machine only.

    Raises:
        DataError: the location is a URI, or there is no such folder.
    """
    if "://" in location:
        raise DataError(f"{location}: {label} is read from a folder of this machine; copy it there")
    if not Path(location).is_dir():
        raise DataError(f"{location}: there is no such folder of {label}; check the path")
    return Path(location).absolute()


def _find(root: Path, name: str) -> Path | None:
    """A file of the archives, in one of the folders that they may be unpacked to."""
    places = ("", "final_release_version", "NoW_Dataset", "NoW_Dataset/final_release_version")
    return next((root / place / name for place in places if (root / place / name).exists()), None)


def _box_file(picture: Path) -> Path:
    """.../iphone_pictures/subject/challenge/name.jpg has its box in .../detected_face/subject/challenge/name.npy."""
    return picture.parents[3] / FOLDER / Path(*picture.parts[-3:]).with_suffix(".npy")
