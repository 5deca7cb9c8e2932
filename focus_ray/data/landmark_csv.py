"""Landmark files: a line for each picture with its name and 136 numbers x0, y0, ..., x67, y67 [px, upright picture].

White space around a name is dropped and a backslash is read as a slash, for files written by hand. A name that begins
with ./ is taken literally; names that contain such characters are written that way.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from focus_ray.data.spelling import spellings
from focus_ray.errors import LandmarkError, NoSuchObject, printable
from focus_ray.storage import atomic
from focus_ray.storage.object_store import SCHEME
from focus_ray.storage.open_store import open_store

POINTS = 68
_NUMBERS = 2 * POINTS
_ENCODING_ERRORS = "surrogateescape"  # file names are bytes, not always UTF-8
_LITERAL_PREFIX = "./"
_MAX_SHOWN = 80  # letters of a name or value in a message


def read_landmarks(path: str | Path) -> dict[str, Float[np.ndarray, "68 2"]]:
    """Read a landmark file.

    Numbers may be floats, names need not be UTF-8. A first line without numbers is a header; empty lines are skipped.

    Args:
        path: a file, or an object of a store as s3://bucket/key.

    Returns:
        Landmarks by the file name in the first column (relative, in POSIX form), px.

    Raises:
        LandmarkError: the file is missing, empty or not text, or a line has another count of numbers, a value that is
            not finite, a repeated name or a name outside the folder; the message gives the line.
        StorageError: the store does not answer.
    """
    found: dict[str, np.ndarray] = {}
    lines: dict[str, int] = {}
    for line, fields in _rows(path):
        where = f"{path}, line {line}"
        name = _relative_name(fields[0], where)
        if name in lines:
            raise LandmarkError(f"{where}: {_shorten(name)} is already in line {lines[name]}; keep one of them")
        found[name] = _points(fields[1:], f"{where} ({_shorten(name)})")
        lines[name] = line
    if not found:
        raise LandmarkError(f"{path}: no landmarks in the file; each line is a file name and {_NUMBERS} numbers")
    return found


def write_landmarks(path: str | Path, landmarks: Mapping[str, Float[np.ndarray, "68 2"]]) -> None:
    """Write a file that read_landmarks reads, with two decimals (0.01 px is finer than any detector).

    The file is written atomically.

    Args:
        path: file to write.
        landmarks: landmarks by picture name, px.

    Raises:
        StorageError: the file cannot be written.
    """
    lines = [
        ",".join([_format_name(name), *(f"{value:.2f}" for value in np.asarray(points).reshape(-1))])
        for name, points in landmarks.items()
    ]
    atomic.write_file(Path(path), "".join(f"{line}\n" for line in lines).encode("utf-8", _ENCODING_ERRORS))


def find_landmarks(landmarks: Mapping[str, Float[np.ndarray, "68 2"]], name: str) -> Float[np.ndarray, "68 2"] | None:
    """Return the landmarks of a picture by any Unicode spelling of its name.

    Args:
        landmarks: landmarks by picture name, px.
        name: name of the picture.

    Returns:
        Landmarks, px; None if no spelling has any.
    """
    return next((landmarks[form] for form in spellings(name) if form in landmarks), None)


def describe_unused_lines(landmarks: Mapping[str, Float[np.ndarray, "68 2"]], names: Iterable[str]) -> str | None:
    """Describe the lines of a landmark file that belong to none of the given pictures.

    Args:
        landmarks: landmarks by picture name, px.
        names: names of the pictures.

    Returns:
        A message with their count and the first name; None if every line belongs to a picture.
    """
    known = {form for name in names for form in spellings(name)}
    unused = [name for name in landmarks if name not in known]
    if not unused:
        return None
    return (
        f"{len(unused)} of {len(landmarks)} lines of the landmark file match no picture and are ignored; "
        f"first: {_shorten(unused[0])}"
    )


def _format_name(name: str) -> str:
    """Format a name for a line: quoted if it has separators, after ./ if reading would change it."""
    text = name if _read_name(name) == name else f"{_LITERAL_PREFIX}{name}"
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if any(letter in text for letter in ',"\r\n') else text


def _read_name(text: str) -> str:
    if text.startswith(_LITERAL_PREFIX):
        return text.removeprefix(_LITERAL_PREFIX)
    return text.removeprefix("\ufeff").strip().replace("\\", "/")


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = _read_content(path).decode("utf-8-sig", _ENCODING_ERRORS)
        if "\0" in text:
            raise ValueError("it contains zero bytes")
        reader = csv.reader(io.StringIO(text, newline=""))
        first = True
        for fields in reader:
            blank = not any(field.strip() for field in fields)
            if not blank and not (first and _is_header(fields)):
                yield reader.line_num, fields
            first = first and blank
    except (FileNotFoundError, NoSuchObject):
        raise LandmarkError(f"{path}: there is no such landmark file; check the path") from None
    except (OSError, ValueError, csv.Error) as error:
        raise LandmarkError(f"{path}: the landmark file cannot be read as text ({error}); write it as CSV") from None


def _read_content(path: str | Path) -> bytes:
    if isinstance(path, str) and SCHEME.match(path):
        folder, _, name = path.rpartition("/")
        return open_store(folder).read(name)
    return Path(path).read_bytes()


def _is_header(fields: list[str]) -> bool:
    return len(fields) > 1 and not any(_is_number(field) for field in fields[1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _relative_name(text: str, location: str) -> str:
    name = PurePosixPath(_read_name(text))
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise LandmarkError(
            f"{location}: {_shorten(text)!r} is not a file name inside the folder; write it relative to the folder"
        )
    return str(name)


def _shorten(text: str) -> str:
    """Shorten a text for a message."""
    return printable(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def _points(fields: list[str], location: str) -> Float[np.ndarray, "68 2"]:
    if len(fields) != _NUMBERS:
        raise LandmarkError(
            f"{location}: {len(fields)} numbers instead of {_NUMBERS}; "
            "give 68 points as x0, y0, ..., x67, y67, separated by commas"
        )
    for column, field in enumerate(fields, start=2):
        if not _is_number(field) or not math.isfinite(float(field)):
            raise LandmarkError(
                f"{location}: column {column} is {_shorten(field.strip())!r}, not a finite number; correct it"
            )
    return np.array([float(field) for field in fields]).reshape(POINTS, 2)
