"""CelebA-HQ and the AR database, with masks of the visible face."""

from collections.abc import Mapping

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.ar import read_ar
from focus_ray.data.sources.celeba_split import MAPPING, CelebaOrigin, read_celeba_split
from focus_ray.data.sources.celebahq import ANNOTATIONS, PICTURES, read_celebahq
from focus_ray.data.sources.files import find_pictures, list_files
from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.data.trainable.trainable_set import FileVersions, TrainableFace, TrainableSet, hash_points
from focus_ray.errors import DataError


def open_celebahq(location: str) -> TrainableSet:
    """Open CelebAMask-HQ with CelebA's split; every annotated picture counts, whatever lists lie in the folder.

    Raises:
        DataError: the folder lacks the pictures, the annotations or the mapping, or a file is malformed.
        StorageError: the store does not answer.
    """
    source = open_picture_source(location)
    for folder in (PICTURES, ANNOTATIONS):
        if not list_files(source, folder, limit=1):
            raise DataError(
                f"{source}: there is no {folder}/; give the folder that CelebAMask-HQ.zip was unpacked to, with "
                f"{PICTURES}/, {ANNOTATIONS}/ and {MAPPING}"
            )
    origins = read_celeba_split(source)
    pictures = read_celebahq(location, listed=False)
    known = {name: _celeba_face(name, origins) for name in pictures.names if name in origins}
    left_out = {name: "not_in_mapping" for name in pictures.names if name not in origins}
    unmarked = {name for name in find_pictures(source, PICTURES) if name.isdecimal()}.difference(pictures.names)
    return _labelled_set(pictures, known, left_out | dict.fromkeys(unmarked, "without_mask"))


def open_ar(location: str) -> TrainableSet:
    """Open the AR database: the pictures that have a mask, for evaluation. Persons are as m-001.

    Raises:
        DataError: no picture has a mask.
        StorageError: the store does not answer.
    """
    pictures = read_ar(location)
    return _labelled_set(pictures, {name: (name.rpartition("-")[0], "test") for name in pictures.names}, {})


def _celeba_face(name: str, origins: Mapping[str, CelebaOrigin]) -> tuple[str, str]:
    """Person and split; a picture without a known person is a person of its own."""
    origin = origins[name]
    return origin.person or f"picture {name}", origin.split


def _labelled_set(
    pictures: LabelledPictures, known: Mapping[str, tuple[str, str]], left_out: Mapping[str, str]
) -> TrainableSet:
    versions = FileVersions(pictures.source)
    faces = []
    for name, (person, split) in known.items():
        files = pictures.labels[name]
        points = pictures.landmarks(name)
        version = versions(files.picture, *files.face.values(), *files.hiding.values())
        given = "" if points is None else f" {hash_points(points)}"
        faces.append(TrainableFace(name, files.picture, person, split, version + given))
    return TrainableSet(
        pictures.source,
        faces,
        left_out,
        all(pictures.landmarks(name) is not None for name in known),
        landmarks=lambda face: pictures.landmarks(face.name),
        mask=lambda face: pictures.mask(face.name),
    )
