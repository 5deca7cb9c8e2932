"""Points picked on a mesh, as MeshLab writes them (.pp): XML with a line for each point."""

import math
from pathlib import Path
from xml.parsers import expat

import numpy as np
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
    reader = _PickedPointsParser(path)
    try:
        reader.parser.Parse(content, True)
    except (expat.ExpatError, ValueError) as error:
        raise LandmarkError(
            f"{path}: the picked points cannot be read ({printable(str(error))}); save them from MeshLab again"
        ) from None
    return np.array(reader.points, dtype=np.float64).reshape(-1, 3)


class _PickedPointsParser:
    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.points: list[tuple[float, ...]] = []
        self.depth = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._on_start
        self.parser.EntityDeclHandler = self._on_entity

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        if self.depth == 0 and name != _ROOT:
            raise ValueError(f"its root is {name[:40]!r} instead of {_ROOT!r}")
        self.depth += 1
        if name != _POINT:
            return
        number = len(self.points)
        if number >= _MAX_POINTS:
            raise ValueError("it holds too many points")
        try:
            point = tuple(float(attributes[axis]) for axis in "xyz")
        except (KeyError, ValueError):
            raise ValueError(f"point {number} lacks one of x, y, z") from None
        if not all(map(math.isfinite, point)):
            raise ValueError(f"point {number} is not finite")
        self.points.append(point)

    def _on_entity(self, *_: object) -> None:
        raise ValueError("it declares entities")
