"""Lists of the pictures of a subset, one name a line, or two for a pair; and pairs of comparable pose.

    # occluded.txt: what follows a hash is a comment
    CelebA-HQ-img/17.jpg
    # pairs.txt: the occluded picture, then the unoccluded one of the same person
    anna/multiview_occlusions/IMG_1.jpg anna/multiview_neutral/IMG_2.jpg

Names are relative to the set or to its folder of pictures; their suffix does not matter.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float

from focus_ray.data.sources.files import bare_name, read_text
from focus_ray.errors import DataError, printable
from focus_ray.focus.camera import euler_to_rotation
from focus_ray.storage import atomic

OVERALL, OCCLUDED, UNOCCLUDED, PAIRS = "overall.txt", "occluded.txt", "unoccluded.txt", "pairs.txt"

MAX_POSE_ANGLE = float(np.deg2rad(15.0))
"""Largest angle between two comparable poses, rad. Chosen here: the paper gives no number."""

_COMMENT = re.compile(r"(^|\s)#.*")
_ENCODING_ERRORS = "surrogateescape"  # file names are bytes, not always UTF-8
_MAX_SHOWN = 80  # letters of a name in a message
_NONE = "# none\n"  # an empty file would count as truncated


def read_names(path: str | Path, folder: str = "") -> list[str]:
    """Read the names of a list, without suffix, in its order.

    Args:
        path: file, or s3://bucket/key.
        folder: folder of the pictures, which the returned names are relative to.

    Raises:
        DataError: the list is missing or not text, or a line has two names, a repeated name or a name outside the set;
            the message gives the line.
        StorageError: the store does not answer.
    """
    return [name for (name,) in _read_lines(path, 1, folder)]


def write_names(path: str | Path, names: Iterable[str]) -> None:
    """Write a list that read_names reads.

    Args:
        path: file to write.
        names: names of the pictures.

    Raises:
        DataError: a name is empty, has white space or begins with #.
        StorageError: the file cannot be written.
    """
    _write(path, ((name,) for name in names))


def read_pairs(path: str | Path, folder: str = "") -> list[tuple[str, str]]:
    """Read the pairs (occluded, unoccluded) of a list; a picture may be in several pairs.

    Args:
        path: file, or s3://bucket/key.
        folder: folder of the pictures, which the returned names are relative to.

    Raises:
        DataError: the list is missing or not text, or a line has a number of names other than two, a repeated pair or
            a name outside the set; the message gives the line.
        StorageError: the store does not answer.
    """
    return [(occluded, unoccluded) for occluded, unoccluded in _read_lines(path, 2, folder)]


def write_pairs(path: str | Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write a list that read_pairs reads.

    Args:
        path: file to write.
        pairs: names (occluded, unoccluded).

    Raises:
        DataError: a name is empty, has white space or begins with #.
        StorageError: the file cannot be written.
    """
    _write(path, pairs)


def propose_pairs(
    names: Sequence[str],
    subjects: Sequence[str],
    rotations: Float[np.ndarray, "N 3"],
    occluded: Bool[np.ndarray, " N"],
    max_angle: float = MAX_POSE_ANGLE,
) -> list[tuple[str, str]]:
    """Pair occluded and unoccluded pictures of a subject in comparable pose, each picture in one pair at most.

    The difference of two poses is the angle of the one rotation between them. The nearest pair is taken first, then the
    nearest of the rest; ties go by name. Table 3 of the paper compares 62 such pairs of the NoW validation set.

    Args:
        names: names of the pictures.
        subjects: subject of each picture.
        rotations: Euler angles of focus.camera, predicted or true, rad.
        occluded: True for occluded pictures.
        max_angle: largest difference of the poses, rad.

    Returns:
        Names (occluded, unoccluded) of each pair.
    """
    turns = euler_to_rotation(torch.from_numpy(np.asarray(rotations, dtype=np.float64))).numpy()
    candidates = sorted(
        (_rotation_angle(turns[one], turns[other]), names[one], names[other])
        for one in np.flatnonzero(occluded).tolist()
        for other in np.flatnonzero(~occluded).tolist()
        if subjects[one] == subjects[other]
    )
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    for angle, one, other in candidates:
        if angle <= max_angle and not used & {one, other}:
            pairs.append((one, other))
            used |= {one, other}
    return pairs


def _rotation_angle(one: Float[np.ndarray, "3 3"], other: Float[np.ndarray, "3 3"]) -> float:
    """tr(R' S) = 1 + 2 cos(angle)."""
    return float(np.arccos(np.clip((np.trace(one.T @ other) - 1) / 2, -1, 1)))


def _read_lines(path: str | Path, count: int, folder: str) -> Iterator[list[str]]:
    """The names of each line."""
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        names = _COMMENT.sub("", line).split()
        if not names:
            continue
        where = f"{path}, line {number}"
        if len(names) != count:
            raise DataError(f"{where}: {len(names)} names instead of {count}; names must not contain spaces")
        bare = [_parse_name(name, folder, where) for name in names]
        if tuple(bare) in seen:
            shown = " ".join(map(_shorten, names))
            raise DataError(f"{where}: {shown} is already in line {seen[tuple(bare)]}; keep one of them")
        seen[tuple(bare)] = number
        yield bare


def _parse_name(name: str, folder: str, location: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{location}: {_shorten(name)!r} is not a file name inside the set; write it relative to the set"
        )
    return bare_name(str(path), folder)


def _write(path: str | Path, lines: Iterable[Sequence[str]]) -> None:
    text = ""
    for names in lines:
        for name in names:
            if not name or name.split() != [name] or name.startswith("#"):
                raise DataError(
                    f"{_shorten(name)!r} cannot be listed: it is empty, has spaces or begins with #; rename the picture"
                )
        text += " ".join(names) + "\n"
    atomic.write_file(Path(path), (text or _NONE).encode("utf-8", _ENCODING_ERRORS))


def _shorten(name: str) -> str:
    return printable(name[:_MAX_SHOWN])
