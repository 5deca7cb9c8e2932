"""Reader of triangle meshes of unknown origin, OBJ or PLY: geometry alone; limits are checked before allocation."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from focus_ray.errors import DataError, printable
from focus_ray.settings import Settings

MESH_KINDS = (".obj", ".ply")
"""Suffixes that are read, in the order in which NoW's public evaluation looks for them."""

_MEGA = 1_000_000
_PLY_HEADER = 100_000  # bytes; typical headers have about 500
_PLY_COUNT = re.compile(rb"^element +(\w+) +(\d+)\s*$", re.MULTILINE)
_OBJ_CONTINUED = re.compile(rb"\\\r?\n")
_OBJ_VERTEX = re.compile(rb"^[ \t]*v[ \t]", re.MULTILINE)
# The position of a vertex line, and the vertex numbers of a face line: colours, uv and normals are skipped.
_OBJ_GEOMETRY = re.compile(rb"^[ \t]*(v(?:[ \t]+[^\s#]+){3}|f(?:[ \t]+[^\s#]+)+)", re.MULTILINE)
# Programs differ on which vertex a negative (relative) number means; 0 is not a vertex number.
_OBJ_RELATIVE = re.compile(rb"^f[^\n]*[ \t](?:-|0[ \t\n])", re.MULTILINE)
_OBJ_OTHER_NUMBERS = re.compile(rb"/[^ \t\n]*")


class MeshLimits(Settings):
    """Limits of the size of a mesh, checked on the file's size and its counts before it is parsed."""

    megabytes: float = 500.0
    vertices: int = 5_000_000
    faces: int = 10_000_000


DEFAULT_LIMITS = MeshLimits()


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Vertices in the file's own unit and order, and the triangles on them."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]


def read_mesh(path: str | Path, limits: MeshLimits = DEFAULT_LIMITS) -> TriangleMesh:
    """Read the vertices (float64) and triangles of an OBJ or PLY file, in the file's order.

    Polygons become triangles. Colours, normals, uv, materials and groups are skipped: each vertex line is one vertex,
    however many uv it has.

    Args:
        path: an .obj or .ply file.
        limits: largest size that is accepted.

    Returns:
        The mesh; without triangles if the file has no faces.

    Raises:
        DataError: the file is missing, damaged, oversized or of another format, has no vertices, a coordinate that is
            not finite, or a face with a vertex that does not exist.
    """
    path = Path(path)
    content = read_limited_bytes(path, limits.megabytes)
    kind = path.suffix.lower()
    if kind not in MESH_KINDS:
        raise DataError(f"{path}: {kind or 'a file without suffix'} is not a supported mesh format; give .obj or .ply")
    geometry = _obj_geometry(content) if kind == ".obj" else content
    _check_counts(path, geometry, kind, limits)
    if kind == ".obj" and _OBJ_RELATIVE.search(geometry):
        raise DataError(f"{path}: a face has a vertex number below 1; number the vertices from 1")
    import trimesh  # with parts of scipy, which programs that read no mesh do not need

    try:
        read = trimesh.load(
            io.BytesIO(geometry), file_type=kind[1:], process=False, maintain_order=True, skip_materials=True
        )
        vertices, faces = _to_arrays(read)
    except Exception as error:  # trimesh's parsers raise errors of any type on a damaged file
        raise DataError(f"{path}: the mesh cannot be read ({_reason(error)}); export it again") from None
    return _validate(path, vertices, faces)


def read_limited_bytes(path: Path, megabytes: float) -> bytes:
    """Read the content of a file of limited size.

    Args:
        path: the file.
        megabytes: largest size that is accepted, in 10^6 bytes.

    Raises:
        DataError: the file is missing, unreadable, empty or larger.
    """
    try:
        size = path.stat().st_size
        if size > megabytes * _MEGA:
            raise DataError(f"{path}: {size / _MEGA:.0f} MB exceed the limit of {megabytes:g} MB; give a smaller file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}); check the path") from None
    if not content:
        raise DataError(f"{path}: the file is empty; export it again")
    return content


def _obj_geometry(content: bytes) -> bytes:
    """Return the OBJ file with positions and faces alone: trimesh would split vertices at the seams of a texture."""
    lines = _OBJ_GEOMETRY.findall(_OBJ_CONTINUED.sub(b" ", content))
    return b"\n".join(_OBJ_OTHER_NUMBERS.sub(b"", line) if line.startswith(b"f") else line for line in lines) + b"\n"


def _check_counts(path: Path, content: bytes, kind: str, limits: MeshLimits) -> None:
    if kind == ".obj":
        n_vertices = len(_OBJ_VERTEX.findall(content))
        counts = {"vertex": n_vertices, "face": content.count(b"\n") - n_vertices}
    else:
        counts = {name.decode(): int(count) for name, count in _PLY_COUNT.findall(content[:_PLY_HEADER])}
    if counts.get("vertex", 0) == 0:
        raise DataError(f"{path}: there are no vertices in the file; export the mesh again as OBJ or PLY")
    allowed = {"vertex": limits.vertices, "face": limits.faces}
    for name, count in counts.items():
        # An element takes at least one byte: a count beyond the file's size is wrong.
        if count > min(allowed.get(name, len(content)), len(content)):
            raise DataError(
                f"{path}: {count} elements {name!r} exceed the limit or the size of the file; give a smaller mesh"
            )


def _to_arrays(read: object) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    if isinstance(read, trimesh.Scene):
        read = read.to_geometry()
    if isinstance(read, trimesh.Trimesh):
        return np.array(read.vertices, dtype=np.float64), np.array(read.faces, dtype=np.int64)
    if isinstance(read, trimesh.PointCloud):
        return np.array(read.vertices, dtype=np.float64), np.empty((0, 3), dtype=np.int64)
    raise ValueError("there is no mesh in the file")


def _validate(path: Path, vertices: np.ndarray, faces: np.ndarray) -> TriangleMesh:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise DataError(f"{path}: there are no vertices in the file; export the mesh again as OBJ or PLY")
    if not np.isfinite(vertices).all():
        raise DataError(
            f"{path}: {_count_nonfinite_rows(vertices)} vertices are not finite; export the mesh without them"
        )
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise DataError(f"{path}: a face refers to a vertex that does not exist; export the mesh again")
    return TriangleMesh(vertices, faces)


def _count_nonfinite_rows(vertices: np.ndarray) -> int:
    return int((~np.isfinite(vertices)).any(axis=1).sum())


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return printable(text[:120]) or type(error).__name__
