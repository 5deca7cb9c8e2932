"""Landmark files: a line a picture, its name and 136 numbers x0, y0, ..., x67, y67 in px of the upright picture."""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from focus_ray.errors import LandmarkError

POINTS = 68
_NUMBERS = 2 * POINTS


def read_landmarks(path: str | Path) -> dict[str, Float[np.ndarray, "68 2"]]:
    """The landmarks of each picture, by the file name that stands in the first column (relative, in POSIX form).

    Numbers may be floats. A first line without numbers is taken as a header, empty lines are skipped.
    Raises LandmarkError, naming the line, for another count of numbers, a value that is no finite number, a name that
    stands there twice or points out of the folder; and for a file that is missing, empty or no text.
    """
    found: dict[str, np.ndarray] = {}
    lines: dict[str, int] = {}
    for line, fields in _rows(Path(path)):
        where = f"{path}, line {line}"
        name = _relative_name(fields[0], where)
        if name in lines:
            raise LandmarkError(f"{where}: {name} already stands in line {lines[name]}; keep one of them")
        found[name] = _points(fields[1:], f"{where} ({name})")
        lines[name] = line
    if not found:
        raise LandmarkError(f"{path}: no landmarks in the file; each line is a file name and {_NUMBERS} numbers")
    return found


def write_landmarks(path: str | Path, landmarks: Mapping[str, Float[np.ndarray, "68 2"]]) -> None:
    """Write the layout that read_landmarks reads, with two decimals (0.01 px is finer than any detector)."""
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for name, points in landmarks.items():
            writer.writerow([name, *(f"{value:.2f}" for value in np.asarray(points).reshape(-1))])


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            first = True
            for fields in reader:
                blank = not any(field.strip() for field in fields)
                if not blank and not (first and _is_header(fields)):
                    yield reader.line_num, fields
                first = first and blank
    except FileNotFoundError:
        raise LandmarkError(f"{path}: there is no such landmark file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LandmarkError(f"{path}: the landmark file cannot be read as text ({error}); write it as CSV") from None


def _is_header(fields: list[str]) -> bool:
    return len(fields) > 1 and not any(_is_number(field) for field in fields[1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _relative_name(text: str, where: str) -> str:
    name = PurePosixPath(text.strip().replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise LandmarkError(f"{where}: {text!r} is no file name inside the folder; write it relative to the folder")
    return str(name)


def _points(fields: list[str], where: str) -> Float[np.ndarray, "68 2"]:
    if len(fields) != _NUMBERS:
        raise LandmarkError(
            f"{where}: {len(fields)} numbers instead of {_NUMBERS}; give 68 points as x0, y0, ..., x67, y67"
        )
    for column, field in enumerate(fields, start=2):
        if not _is_number(field) or not math.isfinite(float(field)):
            raise LandmarkError(
                f"{where}: column {column} holds {field.strip()!r}, which is no finite number; correct it"
            )
    return np.array([float(field) for field in fields]).reshape(POINTS, 2)
