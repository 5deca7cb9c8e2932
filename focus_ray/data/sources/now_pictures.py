"""Pictures of NoW to predict on, with the ground truth of sets that this package wrote."""

import logging
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks
from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.description import read_description
from focus_ray.data.sources.files import bare_name
from focus_ray.data.sources.labelled import LANDMARKS
from focus_ray.data.sources.now import PICTURES, NowDataset
from focus_ray.data.sources.subset_lists import PAIRS, read_pairs
from focus_ray.errors import DataError, printable

logger = logging.getLogger(__name__)

TRUTH = "truth.npz"

_MEGABYTES = 2000.0


@dataclass(eq=False)
class NowPictures:
    """The pictures of a NoW set, with landmarks and ground truth if the set has them.

    Attributes:
        dataset: data set of the pictures.
        names: names as subject/challenge/name.
        aligned: whether the pictures are aligned crops.

    Raises:
        DataError: dataset.json or truth.npz is damaged.
        LandmarkError: landmarks.csv is damaged.
    """

    dataset: NowDataset
    names: list[str] = field(init=False)
    aligned: bool = field(init=False)
    _points: Mapping[str, np.ndarray] = field(init=False, repr=False)
    _neutral: Mapping[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        root = self.dataset.root
        described = read_description(open_picture_source(root))
        self._files = {one.name: one.path for one in self.dataset.pictures}
        self._subjects = {one.name: one.subject for one in self.dataset.pictures}
        self.names = list(self._files)
        self.aligned = described is not None and described.aligned
        points = read_landmarks(root / LANDMARKS) if (root / LANDMARKS).is_file() else {}
        self._points = {bare_name(name, PICTURES): one for name, one in points.items()}
        unused = describe_unused_lines(self._points, self.names)
        if unused is not None:
            logger.warning("%s: %s", root, unused)
        self._neutral = _read_true_neutral(root / TRUTH) if (root / TRUTH).is_file() else {}

    def picture(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Read a picture.

        Args:
            name: one of `names`.

        Returns:
            RGB, 0 to 255.

        Raises:
            ImageError: the picture is missing or damaged.
            DataError: the name is not in the set.
        """
        if name not in self._files:
            raise DataError(
                f"{self.dataset.root}: there is no picture {printable(name)!r} in the list; use one of its names"
            )
        return read_image(self._files[name])

    def landmarks(self, name: str) -> Float[np.ndarray, "68 2"] | None:
        """Return the 68 landmarks of a picture.

        Args:
            name: one of `names`.

        Returns:
            px, iBUG order; None if landmarks.csv has none.
        """
        return find_landmarks(self._points, name)

    def pairs(self) -> list[tuple[str, str]]:
        """Read the pairs (occluded, unoccluded) of comparable pose from pairs.txt; without that file there are none.

        Raises:
            DataError: pairs.txt is damaged.
        """
        path = self.dataset.root / PAIRS
        return read_pairs(path, PICTURES) if path.is_file() else []

    def true_neutral(self, name: str) -> Float[np.ndarray, "V 3"] | None:
        """Return the true neutral face of a picture's person.

        Args:
            name: one of `names`.

        Returns:
            All vertices of the model, mm; None if unknown.
        """
        return self._neutral.get(self._subjects[name]) if name in self._subjects else None


def _read_true_neutral(path: Path) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Read vertices by subject; nothing is allocated beyond the size of the file."""
    try:
        if path.stat().st_size > _MEGABYTES * 1e6:
            raise ValueError(f"it is larger than {_MEGABYTES:g} MB")
        with zipfile.ZipFile(path) as archive:
            subjects, neutral = (_read_array(archive, key) for key in ("subjects", "neutral"))
    except Exception as error:  # zipfile and the header parser raise many types for a damaged file
        reason = printable(" ".join(str(error).split())[:120] or type(error).__name__)
        raise DataError(
            f"{path}: the ground truth cannot be read ({reason}); synthesize the set again, or remove it"
        ) from None
    if subjects.dtype.kind != "U" or neutral.dtype.kind != "f" or neutral.shape != (len(subjects), neutral.shape[1], 3):
        raise DataError(f"{path}: there is not a face for each subject; synthesize the set again, or remove it")
    if not np.isfinite(neutral).all():
        raise DataError(f"{path}: some vertices are not finite; synthesize the set again, or remove it")
    return dict(zip(map(str, subjects), neutral, strict=True))


def _read_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{key} is compressed")
    with archive.open(entry) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{key} has an unsupported format version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.kind not in "fU" or not 2 <= len(shape) + (dtype.kind == "U") <= 3:
            raise ValueError(f"{key} has an unexpected type or shape")
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{key} does not have the length in its header")
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
