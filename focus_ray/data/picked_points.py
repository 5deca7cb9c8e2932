"""Points picked on a mesh, as MeshLab writes them (.pp): XML with a line for each point."""

import math
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import EntitiesForbidden
from defusedxml.ElementTree import fromstring
from jaxtyping import Float

from focus_ray.errors import DataError, LandmarkError, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes

_ROOT, _POINT = "PickedPoints", "point"
_MEGABYTES = 1.0  # seven points take 2 kB
_MAX_POINTS = 10_000


def read_picked_points(path: str | Path) -> Float[np.ndarray, "N 3"]:
    """Read the points of a .pp file.

    Document types are accepted because MeshLab writes one; all entities are refused.

    Args:
        path: path of the file.

    Returns:
        Points in the file's order, in the units of the mesh.

    Raises:
        LandmarkError: the file is missing, damaged or too large, or a coordinate is not finite.
    """
    try:
        content = read_limited_bytes(Path(path), _MEGABYTES)
    except DataError as error:
        raise LandmarkError(str(error)) from None
    try:
        return np.array(_parse_points(content), dtype=np.float64).reshape(-1, 3)
    except (ParseError, ValueError, LookupError) as error:
        reason = "entity declarations are not allowed" if isinstance(error, EntitiesForbidden) else str(error)
        raise LandmarkError(
            f"{path}: the picked points cannot be read ({printable(reason)}); save them from MeshLab again"
        ) from None


def _parse_points(content: bytes) -> list[list[float]]:
    root = fromstring(content)
    if root.tag != _ROOT:
        raise ValueError(f"the root element is {root.tag[:40]!r} instead of {_ROOT!r}")
    elements = list(root.iter(_POINT))
    if len(elements) > _MAX_POINTS:
        raise ValueError(f"there are more than {_MAX_POINTS} points")
    return [_coordinates(number, element.attrib) for number, element in enumerate(elements)]


def _coordinates(number: int, attributes: Mapping[str, str]) -> list[float]:
    try:
        point = [float(attributes[axis]) for axis in "xyz"]
    except (KeyError, ValueError):
        raise ValueError(f"x, y or z of point {number} is missing or not a number") from None
    if not all(map(math.isfinite, point)):
        raise ValueError(f"point {number} is not finite")
    return point
