"""Photographs to train on: pictures and a file with 68 landmarks per picture, aligned, cropped and augmented."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from focus_ray.data import augment
from focus_ray.data.align import Crop, as_float, compose, crop_from_landmarks
from focus_ray.data.augment import AugmentSettings
from focus_ray.data.image_file import DEFAULT_LIMITS, ImageLimits, read_image
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.portraits import are_portraits
from focus_ray.data.sample import Batch
from focus_ray.data.spelling import stored_spelling
from focus_ray.errors import DataError, ImageError, LandmarkError

LANDMARK_FILE = "landmarks.csv"

# The cached part of a picture: the aligned face and its surroundings, large and fine enough for every augmentation.
_KEPT_WIDTH = 1.5  # of the crop's width
_KEPT_DETAIL = 2.0  # px per px of the crop


class Photographs(ABC):
    """Numbered photographs: those of a folder, or the records of a prepared store.

    Attributes:
        names: names of the photographs.
        portraits: whether all of them are listed public-domain portraits.
    """

    names: list[str]
    portraits: bool

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of the training data."""

    @property
    @abstractmethod
    def left_out(self) -> str | None:
        """Message on the photographs that are not in use; None if all are."""

    @property
    @abstractmethod
    def read_again(self) -> str | None:
        """Message on the photographs that do not fit into a cache; None if all fit."""

    @abstractmethod
    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """Return the photographs with these numbers, aligned."""

    @abstractmethod
    def face(self, index: int) -> "PhotoFace":
        """Return the surroundings of the face of a photograph."""


class PhotoFolder(Photographs):
    """Aligned faces of the photographs that a landmark file names, in a folder or below s3://bucket/prefix.

    Every picture is read when the folder is opened. Unusable pictures are left out and counted by reason in `skipped`;
    `names` are those in use, in the file's order; `portraits` is whether all of them are listed public-domain portraits
    (data.portraits). Pictures that the landmark file does not name are never read. The
    surroundings of the faces are cached in memory up to `memory_mb`; the other pictures are read again when needed. A
    pickled folder holds no pictures: another process reads those that it needs, without a new scan.

    Args:
        folder: folder of the pictures, or s3://bucket/prefix.
        landmarks: landmark file with names relative to the folder, also s3://bucket/key; None means landmarks.csv
            beside the pictures.
        image_size: side of the crops, px.
        settings: ranges of the augmentation.
        limits: largest size of a picture.
        memory_mb: size of the cache, MB.

    Raises:
        DataError: there is no such folder, or no picture can be used.
        LandmarkError: the landmark file is missing or malformed.
        ConfigError: the URI is not a store.
        StorageError: the store does not answer.
    """

    def __init__(
        self,
        folder: str | Path,
        landmarks: str | Path | None = None,
        image_size: int = 224,
        settings: AugmentSettings = augment.DEFAULT,
        limits: ImageLimits = DEFAULT_LIMITS,
        memory_mb: float = 1000.0,
    ):
        self.source = open_picture_source(folder, limits)
        self.image_size = image_size
        self.settings = settings
        self.limits = limits
        self.memory_mb = memory_mb
        self.names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.messages: list[str] = []
        given = read_landmarks(self._landmark_file(landmarks))
        self._landmarks = {stored_spelling(self.source, name): points for name, points in given.items()}
        self._kept = FaceMemory(memory_mb)
        self._digest = self._scan_pictures()
        if not self.names:
            raise DataError(f"{self.source}: no photograph can be used ({self._reasons}); first: {self.messages[0]}")

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": FaceMemory(self.memory_mb)}

    @property
    def left_out(self) -> str | None:
        """Message on how many photographs are in use and why the others are not; None if all are in use."""
        if not self.skipped:
            return None
        used = f"{len(self)} of {len(self._landmarks)} photographs are in use"
        return f"{used}: {self._reasons}; first: {self.messages[0]}"

    @property
    def read_again(self) -> str | None:
        """Message on how many photographs do not fit into the cache; None if all fit."""
        if len(self._kept) == len(self):
            return None
        return (
            f"{len(self) - len(self._kept)} of {len(self)} photographs do not fit into a cache of {self.memory_mb:g} "
            "MB and are read again in each pass; raise data.cache_mb if there is enough memory"
        )

    @property
    def _reasons(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())

    @property
    def digest(self) -> str:
        """SHA-256 of the training data: names, landmarks, and the pixels around the faces."""
        return self._digest

    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """Return the photographs with these numbers, aligned; augmentation depends only on (seed, epoch, index).

        Args:
            indices: numbers of the photographs, taken modulo their count.
            seed: seed of the augmentation; None means no augmentation.
            epoch: pass over the photographs.

        Returns:
            Crops with their landmarks in px of the crop, and names.
        """
        chosen = [index % len(self) for index in indices]
        names = [self.names[index] for index in chosen]
        faces = self._load_faces(set(names))
        return face_batch([faces[name] for name in names], chosen, names, self.settings, seed, epoch)

    def face(self, index: int) -> "PhotoFace":
        """Return the surroundings of the face of the photograph with this number."""
        name = self.names[index]
        return self._load_faces({name})[name]

    def _landmark_file(self, landmarks: str | Path | None) -> str | Path:
        if landmarks is not None:
            return landmarks
        if not self.source.holds(LANDMARK_FILE):
            raise LandmarkError(
                f"{self.source}: no {LANDMARK_FILE} in the folder; give the landmark file, or write "
                "one with `focus-ray data detect`"
            )
        return f"{self.source}/{LANDMARK_FILE}"

    def _scan_pictures(self) -> str:
        """Try every picture; returns the digest of the usable ones."""
        seen, hashes = hashlib.sha256(), set()
        for name, content in self.source.contents(list(self._landmarks)):
            try:
                picture = content()
                face = self._load_face(name, picture)
            except (ImageError, LandmarkError) as error:
                self._record_skip(name, error)
                continue
            self.names.append(name)
            hashes.add(hashlib.sha256(picture).hexdigest())
            self._kept.keep(name, face)
            for part in (name.encode(errors="surrogateescape"), face.landmarks.tobytes(), face.image.tobytes()):
                seen.update(part)
        self.portraits = are_portraits(hashes)
        return seen.hexdigest()

    def _record_skip(self, name: str, error: DataError) -> None:
        bad_landmarks = isinstance(error, LandmarkError)
        self.skipped["with invalid landmarks" if bad_landmarks else self.source.failure_reason(name)] += 1
        self.messages.append(f"{self.source.location(name)}: {error}" if bad_landmarks else str(error))

    def _load_faces(self, names: set[str]) -> "dict[str, PhotoFace]":
        """The faces of these pictures; those that are not cached are read again."""
        faces = {name: face for name in names if (face := self._kept.get(name)) is not None}
        for name, content in self.source.contents(sorted(names - faces.keys())):
            faces[name] = self._load_face(name, content())
            self._kept.keep(name, faces[name])
        return faces

    def _load_face(self, name: str, content: bytes) -> "PhotoFace":
        image = read_image(content, self.limits, self.source.location(name))
        points = validate_landmarks(self._landmarks[name], *image.shape[:2])
        return crop_surroundings(image, points, crop_from_landmarks(points, self.image_size))


@dataclass(frozen=True)
class PhotoFace:
    """The surroundings of a face, with its landmarks in their px and the crop that shows it aligned."""

    image: UInt8[np.ndarray, "K K 3"]
    landmarks: Float[np.ndarray, "68 2"]
    crop: Crop


class FaceMemory:
    """Faces in memory by name, up to a bound; what does not fit is not kept.

    Args:
        megabytes: bound, MB.
    """

    def __init__(self, megabytes: float) -> None:
        self.megabytes = megabytes
        self._room = megabytes * 1e6
        self._faces: dict[str, PhotoFace] = {}

    def __len__(self) -> int:
        return len(self._faces)

    def get(self, name: str) -> PhotoFace | None:
        """Return a face; None if it is not kept."""
        return self._faces.get(name)

    def keep(self, name: str, face: PhotoFace) -> None:
        """Keep a face if there is room."""
        if name not in self._faces and face.image.nbytes <= self._room:
            self._room -= face.image.nbytes
            self._faces[name] = face


def face_batch(
    faces: Sequence[PhotoFace],
    numbers: Sequence[int],
    names: Sequence[str],
    settings: AugmentSettings,
    seed: int | None,
    epoch: int,
) -> Batch:
    """Cut the aligned crops of faces; augmentation depends only on (seed, epoch, number).

    Args:
        faces: faces with their surroundings.
        numbers: number of each face in its set.
        names: name of each face.
        settings: ranges of the augmentation.
        seed: seed of the augmentation; None means no augmentation.
        epoch: pass over the set.

    Returns:
        Crops with their landmarks in px of the crop, and names.
    """
    views = [_view(face, number, settings, seed, epoch) for face, number in zip(faces, numbers, strict=True)]
    return Batch(
        images=torch.stack([torch.from_numpy(as_float(image)) for image, _ in views]),
        landmarks=torch.stack([torch.from_numpy(points).float() for _, points in views]),
        names=list(names),
    )


def surroundings_crop(crop: Crop) -> Crop:
    """Return the crop of the surroundings of a face: larger and finer than the face's crop, as augmentation needs.

    Args:
        crop: aligned crop of the face.
    """
    detail = min(_KEPT_DETAIL, 1.0 / crop.scale)  # never finer than the picture
    side = max(1, round(crop.size * _KEPT_WIDTH * detail))
    middle = (side - 1) / 2.0 - detail * (crop.size - 1) / 2.0
    return Crop(compose(np.array([[detail, 0.0, middle], [0.0, detail, middle]]), crop.matrix), side)


def crop_surroundings(image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"], crop: Crop) -> PhotoFace:
    """Cut the surroundings of a face.

    Args:
        image: picture.
        landmarks: px of the picture.
        crop: aligned crop of the face.
    """
    kept = surroundings_crop(crop)
    return PhotoFace(kept.warp(image), kept.to_crop(landmarks), Crop(compose(crop.matrix, kept.inverse), crop.size))


def _view(
    face: PhotoFace, number: int, settings: AugmentSettings, seed: int | None, epoch: int
) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "68 2"]]:
    if seed is None:
        return face.crop.warp(face.image), face.crop.to_crop(face.landmarks)
    rng = np.random.default_rng((seed, epoch, number))
    augmentation = augment.draw_augmentation(rng, face.crop.size, settings)
    view = augmentation.crop(face.crop).warp(face.image)
    return view, augmentation.landmarks(face.crop, face.landmarks)
