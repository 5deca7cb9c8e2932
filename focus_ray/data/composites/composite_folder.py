"""Folder of composites: photographs with pasted occluders, in the layout of synthetic faces and with exact masks.

    images/000000.png      the photograph, with or without an occluder
    occluders/000000.png   255 where the pasted occluder is opaque: exact
    masks/000000.png       255 in the landmarks' hull and the forehead, without the occluder: the visible face, roughly
    landmarks.csv          images/000000.png, then the 68 points of the open photograph, px
    composites.csv         a line for each composite, see CompositeRow; written last
    composites.json        the options

Of an unfinished folder, composites.partial.jsonl has a line for each finished composite.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.mask import binarise_mask
from focus_ray.data.sample import UNOCCLUDED
from focus_ray.errors import DataError, ImageError, LandmarkError, printable
from focus_ray.storage import atomic

IMAGES, MASKS, OCCLUDERS, LANDMARKS = "images", "masks", "occluders", "landmarks.csv"
ROWS, SETTINGS = "composites.csv", "composites.json"

_ENCODING_ERRORS = "surrogateescape"  # file names are bytes, not always UTF-8


@dataclass(frozen=True)
class CompositeRow:
    """A line of composites.csv.

    Attributes:
        picture: name of the picture in the folder, images/000000.png.
        source: name of the photograph in the landmark file.
        person: name of the person's first photograph.
        family: family of the occluder; "none" for an open face.
        training: "seen" or "unseen": whether the default synthetic training has the family; "none" for an open face.
        covered: share of the face region that the occluder covers.
    """

    picture: str
    source: str
    person: str
    family: str
    training: str
    covered: float

    @property
    def is_open(self) -> bool:
        """Whether nothing was pasted."""
        return self.family == UNOCCLUDED


_COLUMNS = tuple(field.name for field in fields(CompositeRow))


def is_composite_folder(folder: Path) -> bool:
    """Return whether a folder holds composites, finished or not."""
    return any((folder / name).is_file() for name in (ROWS, SETTINGS))


def write_rows(path: Path, rows: Iterable[CompositeRow]) -> None:
    """Write composites.csv, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([*(getattr(row, name) for name in _COLUMNS[:-1]), f"{row.covered:.4f}"] for row in rows)
    atomic.write_file(path, content.getvalue().encode(errors=_ENCODING_ERRORS))


class CompositeFolder:
    """Pictures of a finished folder of composites, read on demand."""

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Args:
            folder: folder of composites.

        Raises:
            DataError: the folder is unfinished, or composites.csv is damaged.
            LandmarkError: landmarks.csv is missing or damaged, or lacks a picture.
        """
        self.folder = folder
        self.rows = _read_rows(folder / ROWS)
        self._landmarks = read_landmarks(folder / LANDMARKS)
        for row in self.rows:
            if row.picture not in self._landmarks:
                raise LandmarkError(
                    f"{folder / LANDMARKS}: no landmarks of {printable(row.picture)}; write the set again"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def picture(self, row: CompositeRow) -> UInt8[np.ndarray, "H W 3"]:
        """Read the picture of a row.

        Raises:
            ImageError: the picture is missing or damaged.
        """
        return read_image(self.folder / row.picture)

    def landmarks(self, row: CompositeRow) -> Float[np.ndarray, "68 2"]:
        """Return the landmarks of a row, px of the picture."""
        return self._landmarks[row.picture]

    def occluder(self, row: CompositeRow, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        """Read where the pasted occluder is opaque.

        Args:
            row: the composite.
            height: height of the picture, px.
            width: width of the picture, px.

        Raises:
            ImageError: the mask is missing, damaged, or not of the picture's size.
        """
        path = self.folder / OCCLUDERS / Path(row.picture).name
        mask = read_image(path)[..., 0]
        if mask.shape != (height, width):
            raise ImageError(f"{path}: the mask and its picture have different sizes; write the set again")
        return binarise_mask(mask, path)


def _read_rows(path: Path) -> list[CompositeRow]:
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file: the composites are unfinished; repeat the command that makes them"
        )
    try:
        text = path.read_bytes().decode(errors=_ENCODING_ERRORS)
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: the file cannot be read ({error}); write the set again") from None
    if not lines or tuple(lines[0]) != _COLUMNS or len(lines) < 2:
        raise DataError(f"{path}: the columns are not {', '.join(_COLUMNS)}, or there is no row; write the set again")
    return [_parse_row(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _parse_row(path: Path, number: int, line: Sequence[str]) -> CompositeRow:
    try:
        *texts, covered = line
        values: dict[str, Any] = dict(zip(_COLUMNS[:-1], texts, strict=True))
        return CompositeRow(covered=float(covered), **values)
    except ValueError:
        raise DataError(f"{path}, line {number}: the row is damaged; write the set again") from None
