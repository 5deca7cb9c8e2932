"""Face boxes of NoW: detected_face/subject/challenge/name.npy, a pickled dict of left, top, right and bottom [px].

The file is read as data: nothing that it names is imported or called.
"""

import io
import math
from pathlib import Path

from focus_ray.errors import DataError, FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import read_npy_header
from focus_ray.face_models.importers.restricted_pickle import Array, read_pickle
from focus_ray.geometry.mesh_reader import read_limited_bytes

FOLDER = "detected_face"
_MEGABYTES = 0.1  # four numbers
_SIDES = ("left", "top", "right", "bottom")


def read_detected_face(path: Path) -> tuple[float, float, float, float]:
    """Read the box of a face.

    Args:
        path: the .npy file.

    Returns:
        x, y, width, height [px].

    Raises:
        DataError: the file is missing, damaged, or holds no box.
    """
    content = read_limited_bytes(path, _MEGABYTES)
    try:
        stream = io.BytesIO(content)
        shape, _, dtype = read_npy_header(stream, printable(path))
        if not dtype.hasobject or shape != ():
            raise ValueError("it holds no dict")
        held = read_pickle(content[stream.tell() :], str(path))
        values = held.values[0] if isinstance(held, Array) else held
        left, top, right, bottom = (_to_number(values[side]) for side in _SIDES)
    except (FaceModelError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(f"{path}: the face box cannot be read ({printable(error)}); get a complete copy") from None
    if not (right > left and bottom > top):
        raise DataError(f"{path}: the face box is empty; get a complete copy")
    return left, top, right - left, bottom - top


def _to_number(value: object) -> float:
    number = float(value.values if isinstance(value, Array) else value)  # pyright: ignore[reportArgumentType]
    if not math.isfinite(number):
        raise ValueError("a side is no finite number")
    return number
