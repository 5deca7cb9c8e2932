"""Photographs to train on: a folder and a file of 68 landmarks a picture, aligned, cropped and augmented."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from focus_ray.data import augment
from focus_ray.data.align import Crop, align, as_float, compose
from focus_ray.data.augment import AugmentSettings
from focus_ray.data.image_file import DEFAULT_LIMITS, ImageLimits, printable, read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.landmarks import checked_landmarks
from focus_ray.data.sample import Batch
from focus_ray.errors import DataError, ImageError, LandmarkError
from focus_ray.focus.landmarks import five_points

LANDMARK_FILE = "landmarks.csv"

# What is kept of a picture: its aligned surroundings, wide and fine enough for every augmentation of the crop.
_KEPT_WIDTH = 1.5  # of the crop's width
_KEPT_DETAIL = 2.0  # px to a px of the crop


class PhotoFolder:
    """Aligned faces of the photographs that a landmark file names.

    Every picture is read when the folder is opened. Those that cannot be used are left out and counted by reason in
    `skipped`; `names` are those in use, in the file's order. The surroundings of the faces are kept in memory as far as
    `memory_mb` goes; the other pictures are read again whenever they are needed.

    Raises DataError where no picture is left, LandmarkError where there is no landmark file or it is malformed.
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
        self.folder = Path(folder)
        self.image_size = image_size
        self.settings = settings
        self.limits = limits
        self.names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.messages: list[str] = []
        self._landmarks = read_landmarks(self._landmark_file(landmarks))
        self._seen = hashlib.sha256()
        self._kept: dict[str, _Face] = {}
        self._room = memory_mb * 1e6
        for name in self._landmarks:
            self._try(name)
        if not self.names:
            raise DataError(f"{self.folder}: no photograph can be used ({self._reasons}); first: {self.messages[0]}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def left_out(self) -> str | None:
        """How many photographs of the landmark file are in use, and why not the others; None where all are."""
        if not self.skipped:
            return None
        used = f"{len(self)} of {len(self._landmarks)} photographs are in use"
        return f"{used}: {self._reasons}; first: {self.messages[0]}"

    @property
    def _reasons(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())

    @property
    def digest(self) -> str:
        """sha256 of what is trained on: names, landmarks, and the pixels around the faces."""
        return self._seen.hexdigest()

    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """The photographs with these numbers, taken modulo their count; landmarks in px of the crop.

        With a seed they are augmented, deterministically by (seed, epoch, index); without, they are as aligned.
        """
        chosen = [index % len(self) for index in indices]
        views = [self._view(index, seed, epoch) for index in chosen]
        return Batch(
            images=torch.stack([torch.from_numpy(as_float(image)) for image, _ in views]),
            landmarks=torch.stack([torch.from_numpy(points).float() for _, points in views]),
            names=[self.names[index] for index in chosen],
        )

    def _view(
        self, index: int, seed: int | None, epoch: int
    ) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "68 2"]]:
        face = self._face(self.names[index])
        if seed is None:
            return face.crop.warp(face.image), face.crop.to_crop(face.landmarks)
        rng = np.random.default_rng((seed, epoch, index))
        augmentation = augment.draw(rng, self.image_size, self.settings)
        view = augmentation.crop(face.crop).warp(face.image)
        return view, augmentation.landmarks(face.crop, face.landmarks)

    def _landmark_file(self, landmarks: str | Path | None) -> Path:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: there is no such folder of photographs; check the path")
        if landmarks is not None:
            return Path(landmarks)
        beside = self.folder / LANDMARK_FILE
        if not beside.is_file():
            raise LandmarkError(
                f"{self.folder}: no {LANDMARK_FILE} in the folder; name the file with --landmarks, "
                "`focus-ray reconstruct` writes one for pictures that have none"
            )
        return beside

    def _try(self, name: str) -> None:
        try:
            face = self._face(name)
        except (ImageError, LandmarkError) as error:
            self.skipped[self._reason(name, error)] += 1
            unnamed = isinstance(error, LandmarkError)
            self.messages.append(f"{printable(self.folder / name)}: {error}" if unnamed else str(error))
        else:
            self.names.append(name)
            for content in (name.encode(errors="surrogateescape"), face.landmarks.tobytes(), face.image.tobytes()):
                self._seen.update(content)

    def _reason(self, name: str, error: DataError) -> str:
        if not (self.folder / name).exists():
            return "missing"
        return "unreadable" if isinstance(error, ImageError) else "without a face in their landmarks"

    def _face(self, name: str) -> "_Face":
        if name in self._kept:
            return self._kept[name]
        image = read_image(self.folder / name, self.limits)
        points = checked_landmarks(self._landmarks[name], *image.shape[:2])
        crop = align(five_points(torch.from_numpy(points)).numpy(), self.image_size)
        face = _surroundings(image, points, crop)
        if face.image.nbytes <= self._room:
            self._room -= face.image.nbytes
            self._kept[name] = face
        return face


@dataclass(frozen=True)
class _Face:
    """The surroundings of a face, with its landmarks in their px and the crop that shows it aligned."""

    image: UInt8[np.ndarray, "K K 3"]
    landmarks: Float[np.ndarray, "68 2"]
    crop: Crop


def _surroundings(image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"], crop: Crop) -> _Face:
    detail = min(_KEPT_DETAIL, 1.0 / crop.scale)  # never finer than the picture
    side = max(1, round(crop.size * _KEPT_WIDTH * detail))
    middle = (side - 1) / 2.0 - detail * (crop.size - 1) / 2.0
    kept = Crop(compose(np.array([[detail, 0.0, middle], [0.0, detail, middle]]), crop.matrix), side)
    return _Face(kept.warp(image), kept.to_crop(landmarks), Crop(compose(crop.matrix, kept.inverse), crop.size))
