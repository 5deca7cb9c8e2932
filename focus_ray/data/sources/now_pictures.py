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
    """The pictures of a NoW set. names are subject/challenge/name; aligned: they are crops as the model wants them.

    Raises DataError and LandmarkError for damaged files beside the pictures.
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
        """RGB. Raises ImageError where it is missing or damaged, DataError for a name that is not in the set."""
        if name not in self._files:
            raise DataError(f"{self.dataset.root}: there is no picture {printable(name)!r} in the list; see its names")
        return read_image(self._files[name])

    def landmarks(self, name: str) -> Float[np.ndarray, "68 2"] | None:
        """The 68 points of landmarks.csv [px]; None where they are not there."""
        return find_landmarks(self._points, name)

    def pairs(self) -> list[tuple[str, str]]:
        """(occluded, unoccluded) pictures of comparable pose, of pairs.txt. Raises DataError for a damaged list."""
        path = self.dataset.root / PAIRS
        return read_pairs(path, PICTURES) if path.is_file() else []

    def true_neutral(self, name: str) -> Float[np.ndarray, "V 3"] | None:
        """The picture's person at rest, every vertex of the model [mm]; None where the truth is not known."""
        return self._neutral.get(self._subjects[name]) if name in self._subjects else None


def _read_true_neutral(path: Path) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Vertices by subject. Raises DataError; nothing is allocated beyond what the file holds."""
    try:
        if path.stat().st_size > _MEGABYTES * 1e6:
            raise ValueError("it is too large")
        with zipfile.ZipFile(path) as archive:
            subjects, neutral = (_read_array(archive, key) for key in ("subjects", "neutral"))
    except Exception as error:  # whatever zipfile and the parser of headers meet in a damaged file
        reason = printable(" ".join(str(error).split())[:120] or type(error).__name__)
        raise DataError(
            f"{path}: the truth cannot be read ({reason}); synthesize the set again, or remove it"
        ) from None
    if subjects.dtype.kind != "U" or neutral.dtype.kind != "f" or neutral.shape != (len(subjects), neutral.shape[1], 3):
        raise DataError(f"{path}: it does not hold a face for each subject; synthesize the set again, or remove it")
    if not np.isfinite(neutral).all():
        raise DataError(f"{path}: it holds vertices that are not finite; synthesize the set again, or remove it")
    return dict(zip(map(str, subjects), neutral, strict=True))


def _read_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{key} is compressed")
    with archive.open(entry) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{key} is of another version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.kind not in "fU" or not 2 <= len(shape) + (dtype.kind == "U") <= 3:
            raise ValueError(f"{key} is of another kind")
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{key} is not as long as its header says")
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
