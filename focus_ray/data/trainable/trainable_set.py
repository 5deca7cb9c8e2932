"""A data set to prepare: what is known of each picture before it is read."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.data.picture_source import ObjectStorePictures, PictureSource
from focus_ray.errors import DataError

Box = tuple[float, float, float, float]
"""x, y, width, height [px]."""


@dataclass(frozen=True)
class TrainableFace:
    """A picture of the set.

    Attributes:
        name: unique name in the set.
        file: file of the picture, relative to the set.
        person: whose face it is; pictures of one person are held out together.
        split: train, val, test, ...; "" if the set has no splits.
        version: changes with the files that belong to the picture.
    """

    name: str
    file: str
    person: str
    split: str = ""
    version: str = ""


@dataclass(eq=False)
class TrainableSet:
    """The pictures of a set, and functions that read what belongs to one of them.

    Attributes:
        source: place of the files.
        faces: the pictures, in the order of their names.
        left_out: pictures that are not in `faces`: name and reason.
        annotated: whether every picture has landmarks.
        landmarks: returns the 68 landmarks [px]; None if the set has none, and a detector finds them. Raises
            LandmarkError.
        box: returns a box that overlaps the face that is meant; None: the largest face is meant. Raises DataError.
        mask: returns where the face is visible, in px of the picture; None if the set has no masks. Raises ImageError.
    """

    source: PictureSource
    faces: Sequence[TrainableFace]
    left_out: Mapping[str, str] = field(default_factory=dict)
    annotated: bool = False
    landmarks: Callable[[TrainableFace], Float[np.ndarray, "68 2"] | None] = lambda face: None
    box: Callable[[TrainableFace], Box | None] = lambda face: None
    mask: Callable[[TrainableFace], Bool[np.ndarray, "H W"] | None] = lambda face: None

    def __post_init__(self) -> None:
        self.faces = sorted(self.faces, key=lambda face: face.name)
        repeated = [name for name, count in Counter(face.name for face in self.faces).items() if count > 1]
        if repeated:
            raise DataError(
                f"{self.source}: {len(repeated)} names occur twice (first: {repeated[0]}); rename a picture"
            )


def hash_points(points: Float[np.ndarray, "N 2"]) -> str:
    """Return a short hash of points, as part of a version."""
    return hashlib.sha256(np.ascontiguousarray(points, dtype=np.float64).tobytes()).hexdigest()[:16]


class FileVersions:
    """Texts that change with files: size and time of change in a folder, size in an object store."""

    def __init__(self, source: PictureSource) -> None:
        self._root = Path(str(source))
        self._sizes = None
        if isinstance(source, ObjectStorePictures):
            self._sizes = {entry.key: entry.size for entry in source.store.list()}

    def __call__(self, *files: str) -> str:
        """Return the version of files, relative to the set; missing ones count as empty."""
        return " ".join(self._version(file) for file in files)

    def _version(self, file: str) -> str:
        if self._sizes is not None:
            return str(self._sizes.get(file, ""))
        try:
            status = (self._root / file).stat()
        except OSError:
            return "-"
        return f"{status.st_size}:{status.st_mtime_ns}"
