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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.blendshape_statistics import weight_covariance_root
from focus_ray.face_models.importers.bounded_files import read_bytes, read_text
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import keep_region, nearest_weights, whole
from focus_ray.face_models.importers.named_modes import named_modes
from focus_ray.face_models.importers.source_checks import check_source
from focus_ray.face_models.importers.source_model import SourceModel
from focus_ray.face_models.landmarks import FLIP, N_LANDMARKS
from focus_ray.face_models.parametric.modes import principal_modes, remove_rigid_motion
from focus_ray.face_models.provenance import Licence, Provenance

_N_VERTICES = 26719
_NARROW_FACE, _HEAD = slice(0, 6706), slice(6706, 9409)
_MOUTH_SOCKET, _GUMS_AND_TONGUE, _TEETH = slice(11248, 13294), slice(14062, 17039), slice(17039, 21451)
_LEFT_SCLERA, _RIGHT_SCLERA = slice(21451, 22221), slice(23021, 23791)
_INDICES, _NEUTRAL, _FOLDER = "vertex_indices.json", "generic_neutral_mesh.obj", "FaceXModel"
# Vertices from which less than 30 % of the hemisphere above the surface is open, near the nose: the nostrils' inside.
_NOSTRILS = (
    (4634, 4727), (4788, 4796), (4798, 4806), (4808, 4837), (4872, 4914), (4921, 4931), (4952, 4974), (4989, 5011),
    (5099, 5192), (5251, 5301), (5330, 5372), (5378, 5389), (5406, 5428), (5443, 5465),
)  # fmt: skip
# By how much landmarks are moved over the skin (x and y of the mean face, mm): the subject's right side and the middle,
# whose mirror is the left side. In fits of 70 portraits (`choose`) with these landmarks held out, the points of ICT's
# list were off by about three times as much in the mean; on photographs with other annotations, this half way was best.
# The jaw line is left: annotations differ in it by more than that.
_LANDMARK_MOVES = {
    17: (-1.1, 1.6), 18: (-0.2, 0.0), 19: (-0.5, 0.6), 20: (-0.8, 0.5), 21: (-0.5, 0.6), 27: (0.0, 1.6),
    28: (0.0, 0.2), 29: (0.0, -0.7), 30: (0.0, 0.7), 31: (0.1, 0.8), 32: (-0.4, 0.1), 33: (0.0, 0.4), 36: (-0.5, 0.2),
    37: (0.3, 0.4), 38: (-0.3, 0.2), 39: (0.2, 0.3), 40: (0.0, -0.1), 41: (0.7, 0.1), 48: (-1.4, 0.2), 49: (0.9, 0.2),
    50: (-0.5, -0.2), 51: (0.0, 0.3), 57: (0.0, -0.1), 58: (0.1, -0.1), 59: (1.2, -0.6), 60: (-1.4, 0.2),
    61: (1.9, 0.2), 62: (0.0, 0.9), 66: (0.0, -0.3), 67: (1.8, -0.8),
}  # fmt: skip
_SHARE_OF_DEPTH = 0.3  # in the distance from a moved landmark to the skin: it keeps its frontal place
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
# Texture coordinates, whose lines follow the rows of the mesh: the throat below would lie over collars; the forehead
# goes on above the narrow face, up to the hair.
_THROAT = 0.165
_FOREHEAD_TOP, _FOREHEAD_SIDE, _FOREHEAD_CORNER, _FOREHEAD_SLOPE = 0.955, 0.37, 0.25, 0.6
# mm, of the inside of the mouth: what lies further back, and roots, are never seen; roots would show in the nostrils.
_LEAST_DEPTH, _TEETH_HEIGHT, _MIDDLE_OF_ARCH = 82.0, (-47.0, -19.0), 78.0
# Of the normals: gums that look forwards, the tongue from above, and teeth with their sides but not their backs.
_LEAST_FORWARD, _LEAST_UP, _LEAST_OUTWARD = 0.1, 0.5, -0.3

_NOTES = (
    "Vertices: the face with the forehead and without ears and throat, the front of the outer eyeballs, and what is "
    "seen of the mouth's inside.",
    "Identity: without rigid motion, which the camera represents.",
    "Expression: principal modes of the named shapes, whose weights are normal, alike on both sides.",
)
_MAX_BYTES = 20_000_000  # of one file; the published ones have 2.6 MB


def read_ict(path: Path, options: ImportOptions) -> SourceModel:
    """Read a folder of ICT-FaceKit.

    Args:
        path: folder FaceXModel, or the one that contains it.
        options: `modes`, and `licence` if the LICENSE file is not beside the folder; the others have no effect.

    Raises:
        FaceModelError: a file is missing, too large or malformed, or has other vertices than the published ones.
    """
    folder = path / _FOLDER if (path / _FOLDER).is_dir() else path
    files: dict[str, str] = {}
    names, landmarks = _parse_index(read_bytes(folder / _INDICES, files, _MAX_BYTES))
    text = _read_text(folder / _NEUTRAL, files)
    neutral, triangles = _parse_vertices(text, _NEUTRAL), _parse_triangles(text)
    uv = _skin_uv(text)
    region = keep_region(triangles, _seen_vertices(neutral, triangles, uv))
    kept = region.vertices
    number = np.full(_N_VERTICES, -1)
    number[kept] = np.arange(len(kept))
    if (number[landmarks] < 0).any():
        raise FaceModelError(f"{_INDICES}: a landmark is not on the narrow face; use the published file")
    mean = neutral[kept] - _ORIGIN
    nostrils = np.logical_or.reduce([_within(kept, slice(first, last + 1)) for first, last in _NOSTRILS])
    skin = (kept < _NARROW_FACE.stop) & ~nostrils
    landmark_triangles, weights = _move_landmarks(number[landmarks], mean, region.faces, skin)
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
        uv=_with_islands(uv[kept], mean, kept),
        eyeballs=(_within(kept, _RIGHT_SCLERA), _within(kept, _LEFT_SCLERA)),
        mouth_inside={
            "tooth": _within(kept, _TEETH),
            "gum": _within(kept, _GUMS_AND_TONGUE),
            "back": _within(kept, _MOUTH_SOCKET),
        },
        nostrils=nostrils,
        expressions=named,
    )
    return check_source(source)


def _move_landmarks(
    vertices: Int[np.ndarray, "68"],
    mean: Float[np.ndarray, "K 3"],
    faces: Int[np.ndarray, "F 3"],
    skin: Bool[np.ndarray, " K"],
) -> tuple[Int[np.ndarray, "68"], Float[np.ndarray, "68 3"]]:
    """Move landmarks by _LANDMARK_MOVES to the nearest skin that is near along the mesh: lips are not confused.

    Returns:
        Triangle and weights of each landmark.
    """
    triangles, weights, _ = LandmarkPlaces.at_vertices(vertices).on(mean, whole(faces, len(mean)))
    usable = np.flatnonzero(skin[faces].all(axis=1))
    edges = np.concatenate([faces[usable][:, [0, 1]], faces[usable][:, [1, 2]], faces[usable][:, [2, 0]]])
    lengths = np.linalg.norm(mean[edges[:, 0]] - mean[edges[:, 1]], axis=1)
    graph = coo_array((lengths, tuple(edges.T)), shape=(len(mean), len(mean))).tocsr()
    flat = mean * [1.0, 1.0, _SHARE_OF_DEPTH]
    moves = _LANDMARK_MOVES | {FLIP[point]: (-x, y) for point, (x, y) in _LANDMARK_MOVES.items()}
    for point, move in moves.items():
        reach = dijkstra(graph, directed=False, indices=vertices[point], limit=2 * np.hypot(*move) + 3.0)
        near = usable[np.isfinite(reach)[faces[usable]].all(axis=1)]
        target = flat[vertices[point]] + [*move, 0.0]
        found = nearest_weights(target, flat[faces[near]])
        distance = np.linalg.norm(np.einsum("fk,fkd->fd", found, flat[faces[near]]) - target, axis=1)
        triangles[point], weights[point] = near[distance.argmin()], found[distance.argmin()]
    return triangles, weights


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


def _skin_uv(text: str) -> Float[np.ndarray, "V 2"]:
    """Return the texture coordinates of the skin, zeros for other vertices."""
    uv = np.zeros((_N_VERTICES, 2))
    try:
        own = np.loadtxt([line for line in text.splitlines() if line.startswith("vt ")], usecols=(1, 2), ndmin=2)
        for polygon in _parse_corners(text):
            if max(polygon)[0] < _HEAD.stop:  # the sockets have coordinates of their own at the shared vertices
                for vertex, place in polygon:
                    uv[vertex] = own[place]
    except (ValueError, IndexError):
        raise FaceModelError(f"{_NEUTRAL} has malformed texture coordinates; use the published file") from None
    return uv


def _with_islands(
    uv: Float[np.ndarray, "K 2"], mean: Float[np.ndarray, "K 3"], kept: Int[np.ndarray, " K"]
) -> Float[np.ndarray, "K 2"]:
    """Add frontal images of the eyeballs and the mouth's inside where the skin leaves room."""
    uv = uv.copy()
    for part, low, high in _UV_ISLANDS:
        inside = _within(kept, part)
        plane = mean[inside, :2]
        least, size = plane.min(axis=0), np.ptp(plane, axis=0)
        scale = min((np.array(high) - low) / size)
        uv[inside] = np.array(low) + (plane - least) * scale
    return uv


def _seen_vertices(
    neutral: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"], uv: Float[np.ndarray, "V 2"]
) -> Bool[np.ndarray, " V"]:
    """Return the narrow face and forehead, the front of the eyeballs, and what can be seen through the mouth."""
    keep = np.zeros(len(neutral), bool)
    u, v = uv.T
    keep[_MOUTH_SOCKET] = True
    keep[_NARROW_FACE] = v[_NARROW_FACE] > _THROAT
    side = np.abs(u - 0.5)
    rounded = _FOREHEAD_TOP - _FOREHEAD_SLOPE * np.maximum(side - _FOREHEAD_CORNER, 0)
    keep[_HEAD] = ((side < _FOREHEAD_SIDE) & (v > 0.5) & (v < rounded))[_HEAD]
    for ball in (_LEFT_SCLERA, _RIGHT_SCLERA):
        low, high = neutral[ball].min(axis=0), neutral[ball].max(axis=0)
        keep[ball] = neutral[ball, 2] > (low + high)[2] / 2 - _BEHIND * (high - low)[1] / 2
    normals = _vertex_normals(neutral, triangles)
    from_arch = neutral[:, [0, 2]] - [0.0, _MIDDLE_OF_ARCH]
    outward = (from_arch * normals[:, [0, 2]]).sum(axis=1) / np.linalg.norm(from_arch, axis=1)
    front = (neutral[:, 2] > _LEAST_DEPTH) & (neutral[:, 1] < _TEETH_HEIGHT[1])
    seen = (normals[:, 2] > _LEAST_FORWARD) | (normals[:, 1] > _LEAST_UP)
    keep[_GUMS_AND_TONGUE] = (front & seen)[_GUMS_AND_TONGUE]
    keep[_TEETH] = (front & (neutral[:, 1] > _TEETH_HEIGHT[0]) & (outward > _LEAST_OUTWARD))[_TEETH]
    return keep


def _vertex_normals(vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    total = np.zeros_like(vertices)
    np.add.at(total, triangles, np.cross(b - a, c - a)[:, None])
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _within(kept: Int[np.ndarray, " K"], region: slice) -> Bool[np.ndarray, " K"]:
    return (kept >= region.start) & (kept < region.stop)
