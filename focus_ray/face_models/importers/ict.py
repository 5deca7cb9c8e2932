"""ICT-FaceKit (MIT licence): the narrow face, the visible halves of the eyeballs, and the inside of the mouth.

    vertices = neutral + sum_i w_i (identity_i - neutral) + sum_j e_j (expression_j - neutral),   w_i ~ N(0, 1)

The files are OBJ in cm, all with the same vertices; regions are ranges of vertices. The shapes are orthogonal over all
vertices but not over a crop, and the expressions not at all, so both bases are computed anew on what is kept.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.blendshape_statistics import weight_covariance_root
from focus_ray.face_models.importers.bounded_files import read_bytes, read_text
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.mesh_region import keep_region
from focus_ray.face_models.importers.named_modes import named_modes
from focus_ray.face_models.importers.source_checks import check_source
from focus_ray.face_models.importers.source_model import SourceModel, vertex_landmarks
from focus_ray.face_models.landmarks import N_LANDMARKS
from focus_ray.face_models.parametric.modes import principal_modes, remove_rigid_motion
from focus_ray.face_models.provenance import Licence, Provenance

_N_VERTICES = 26719
_NARROW_FACE = slice(0, 6706)
_MOUTH_SOCKET, _GUMS_AND_TONGUE, _TEETH = slice(11248, 13294), slice(14062, 17039), slice(17039, 21451)
_LEFT_SCLERA, _RIGHT_SCLERA = slice(21451, 22221), slice(23021, 23791)
_INDICES, _NEUTRAL, _FOLDER = "vertex_indices.json", "generic_neutral_mesh.obj", "FaceXModel"
# Vertices from which less than 30 % of the hemisphere above the surface is open, near the nose: the nostrils' inside.
_NOSTRILS = (
    (4634, 4727), (4788, 4796), (4798, 4806), (4808, 4837), (4872, 4914), (4921, 4931), (4952, 4974), (4989, 5011),
    (5099, 5192), (5251, 5301), (5330, 5372), (5378, 5389), (5406, 5428), (5443, 5465),
)  # fmt: skip
# Places in the texture that the skin leaves free: low and high corner. The subject's left is at larger u.
_UV_ISLANDS = (
    (_RIGHT_SCLERA, (0.005, 0.005), (0.105, 0.105)),
    (_LEFT_SCLERA, (0.895, 0.005), (0.995, 0.105)),
    (_TEETH, (0.15, 0.005), (0.37, 0.105)),
    (_GUMS_AND_TONGUE, (0.40, 0.005), (0.60, 0.105)),
    (_MOUTH_SOCKET, (0.64, 0.005), (0.86, 0.105)),
)
_N_IDENTITIES = 100
_MM = 10.0  # per cm
_ORIGIN = np.array([0.0, 7.0, 75.0])  # mm: the inner landmarks are centred as those of the parametric face
_BEHIND = 0.15  # of the eyeball's radius: what lies further behind its centre is never seen
# mm, of the inside of the mouth: what lies further back or higher is never seen; roots would show in the nostrils.
_LEAST_DEPTH, _TOP_OF_TEETH = 82.0, -19.0
_LEAST_FORWARD, _LEAST_UP = 0.1, 0.5  # z and y of the normal of what can be seen through the mouth

_NOTES = (
    "Vertices: the narrow face, the front of the outer eyeballs, and what is seen of the mouth's inside.",
    "Identity: without rigid motion, which the camera represents.",
    "Expression: principal modes of the named shapes, whose weights are normal, alike on both sides.",
)
_MAX_BYTES = 20_000_000  # of one file; the published ones have 2.6 MB


def read_ict(path: Path, options: ImportOptions) -> SourceModel:
    """Read a folder of ICT-FaceKit.

    Args:
        path: folder FaceXModel, or the one that contains it.
        options: only `licence` is used, if the LICENSE file is not beside the folder.

    Raises:
        FaceModelError: a file is missing, too large or malformed, or has other vertices than the published ones.
    """
    folder = path / _FOLDER if (path / _FOLDER).is_dir() else path
    files: dict[str, str] = {}
    names, landmarks = _parse_index(read_bytes(folder / _INDICES, files, _MAX_BYTES))
    text = _read_text(folder / _NEUTRAL, files)
    neutral, triangles = _parse_vertices(text, _NEUTRAL), _parse_triangles(text)
    region = keep_region(triangles, _seen_vertices(neutral, triangles))
    kept = region.vertices
    number = np.full(_N_VERTICES, -1)
    number[kept] = np.arange(len(kept))
    if (number[landmarks] < 0).any():
        raise FaceModelError(f"{_INDICES}: a landmark is not on the narrow face; use the published file")
    landmark_triangles, weights = vertex_landmarks(number[landmarks], region.faces)
    mean = neutral[kept] - _ORIGIN
    people = _read_offsets(folder, [f"identity{i:03}" for i in range(_N_IDENTITIES)], neutral, files)[:, kept]
    shapes = _read_offsets(folder, names, neutral, files)[:, kept]
    columns = np.tensordot(weight_covariance_root(names), shapes, axes=(0, 0))
    expression, named = named_modes(columns, dict(zip(names, shapes, strict=True)), options.modes[1])
    licence = _read_licence(folder, options, files)
    source = SourceModel(
        name="ict",
        mean=mean,
        faces=region.faces,
        identity=principal_modes(remove_rigid_motion(list(people), mean), _N_IDENTITIES, "identity"),
        expression=expression,
        landmark_triangles=landmark_triangles,
        landmark_barycentric=weights,
        provenance=Provenance(kind="ict", files=files, licence=licence, notes=_NOTES),
        uv=_texture_coordinates(text, mean, kept),
        eyeballs=(_within(kept, _RIGHT_SCLERA), _within(kept, _LEFT_SCLERA)),
        mouth_inside={
            "tooth": _within(kept, _TEETH),
            "gum": _within(kept, _GUMS_AND_TONGUE),
            "back": _within(kept, _MOUTH_SOCKET),
        },
        nostrils=np.logical_or.reduce([_within(kept, slice(first, last + 1)) for first, last in _NOSTRILS]),
        expressions=named,
    )
    return check_source(source)


def _read_text(path: Path, files: dict[str, str]) -> str:
    return read_bytes(path, files, _MAX_BYTES).decode("utf-8", "replace")


def _read_offsets(
    folder: Path, names: Sequence[str], neutral: Float[np.ndarray, "V 3"], files: dict[str, str]
) -> Float[np.ndarray, "N V 3"]:
    """Return the offsets of shapes from the neutral face, mm, and note one hash of all their files."""
    hashes: dict[str, str] = {}
    offsets = [_parse_vertices(_read_text(folder / f"{name}.obj", hashes), name) - neutral for name in names]
    files[f"{names[0]}.obj to {names[-1]}.obj"] = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()
    return np.stack(offsets)


def _read_licence(folder: Path, options: ImportOptions, files: dict[str, str]) -> Licence:
    beside = (folder / "LICENSE", folder.parent / "LICENSE")
    path = options.licence or next((path for path in beside if path.is_file()), None)
    if path is None:
        raise FaceModelError(f"the LICENSE file of ICT-FaceKit is not beside {folder}; copy it there")
    return Licence(name="MIT", commercial="yes", text=read_text(path, files).strip() + "\n")


def _parse_index(content: bytes) -> tuple[list[str], list[int]]:
    """Return the names of the expressions and the vertices of the landmarks."""
    names: list[str] = []
    landmarks: list[int] = []
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        index = json.loads(content)
        names, landmarks = list(index["expressions"]), list(index["idx_to_landmark_verts"])
    sound = all(isinstance(name, str) and name.isidentifier() for name in names) and len(set(names)) == len(names) > 0
    if not sound or len(landmarks) != N_LANDMARKS or not all(_is_vertex(vertex) for vertex in landmarks):
        raise FaceModelError(f"{_INDICES} lacks names of expressions or 68 landmarks; use the published file")
    return names, landmarks


def _is_vertex(value: object) -> bool:
    return type(value) is int and 0 <= value < _N_VERTICES


def _parse_vertices(text: str, name: str) -> Float[np.ndarray, "V 3"]:
    """Return the vertices of an OBJ file, mm."""
    rows = [line for line in text.splitlines() if line.startswith("v ")]
    if len(rows) != _N_VERTICES:
        raise FaceModelError(f"{name} has {len(rows)} vertices, not {_N_VERTICES}; use ICT-FaceKit's published files")
    try:
        vertices = np.loadtxt(rows, usecols=(1, 2, 3), dtype=np.float64) * _MM
    except (ValueError, IndexError):
        vertices = np.full((1, 3), np.nan)
    if not np.isfinite(vertices).all():
        raise FaceModelError(f"{name} has a vertex that is not three finite numbers; use the published file")
    return vertices


def _parse_corners(text: str) -> list[list[tuple[int, int]]]:
    """Return vertex and texture coordinate of the corners of each polygon, from 0."""
    try:
        polygons = [
            [(int(corner[0]) - 1, int(corner[1]) - 1) for corner in (word.split("/") for word in line.split()[1:])]
            for line in text.splitlines()
            if line.startswith("f ")
        ]
    except (ValueError, IndexError):
        polygons = []
    if not polygons or any(not 0 <= v < _N_VERTICES or t < 0 for polygon in polygons for v, t in polygon):
        raise FaceModelError(f"{_NEUTRAL} has a malformed polygon; use the published file")
    return polygons


def _parse_triangles(text: str) -> Int[np.ndarray, "F 3"]:
    fans = [(p[0][0], p[i][0], p[i + 1][0]) for p in _parse_corners(text) for i in range(1, len(p) - 1)]
    return np.array(fans, dtype=np.int64)


def _texture_coordinates(
    text: str, mean: Float[np.ndarray, "K 3"], kept: Int[np.ndarray, " K"]
) -> Float[np.ndarray, "K 2"]:
    """Return the skin's own texture coordinates, and frontal images of the other parts where the skin leaves room."""
    try:
        own = np.loadtxt([line for line in text.splitlines() if line.startswith("vt ")], usecols=(1, 2), ndmin=2)
        everywhere = np.zeros((_N_VERTICES, 2))
        for polygon in _parse_corners(text):
            if max(polygon)[0] < _NARROW_FACE.stop:  # the sockets have coordinates of their own at the shared vertices
                for vertex, place in polygon:
                    everywhere[vertex] = own[place]
    except (ValueError, IndexError):
        raise FaceModelError(f"{_NEUTRAL} has malformed texture coordinates; use the published file") from None
    uv = everywhere[kept]
    for part, low, high in _UV_ISLANDS:
        inside = _within(kept, part)
        plane = mean[inside, :2]
        least, size = plane.min(axis=0), np.ptp(plane, axis=0)
        scale = min((np.array(high) - low) / size)
        uv[inside] = np.array(low) + (plane - least) * scale
    return uv


def _seen_vertices(neutral: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"]) -> Bool[np.ndarray, " V"]:
    """Return the narrow face, the front of the eyeballs, and what can be seen through the mouth."""
    keep = np.zeros(len(neutral), bool)
    keep[_NARROW_FACE] = keep[_MOUTH_SOCKET] = True
    for ball in (_LEFT_SCLERA, _RIGHT_SCLERA):
        low, high = neutral[ball].min(axis=0), neutral[ball].max(axis=0)
        keep[ball] = neutral[ball, 2] > (low + high)[2] / 2 - _BEHIND * (high - low)[1] / 2
    normals = _vertex_normals(neutral, triangles)
    seen = (normals[:, 2] > _LEAST_FORWARD) | (normals[:, 1] > _LEAST_UP)
    seen &= (neutral[:, 2] > _LEAST_DEPTH) & (neutral[:, 1] < _TOP_OF_TEETH)
    for part in (_TEETH, _GUMS_AND_TONGUE):
        keep[part] = seen[part]
    return keep


def _vertex_normals(vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    total = np.zeros_like(vertices)
    np.add.at(total, triangles, np.cross(b - a, c - a)[:, None])
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _within(kept: Int[np.ndarray, " K"], region: slice) -> Bool[np.ndarray, " K"]:
    return (kept >= region.start) & (kept < region.stop)
