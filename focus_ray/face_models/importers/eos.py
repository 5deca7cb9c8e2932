"""Models in the binary format of the library eos, such as the Surrey Face Model with 3,448 vertices.

The format is that of cereal's BinaryOutputArchive on a little-endian machine (MorphableModel.hpp and PcaModel.hpp):

    version u32 (1 to 4) | shape: pca | colour: pca | expression (from 2): optional | names of vertices (from 3):
        optional | texture coordinates: vector of 2 f64 | texture triangles (from 4): vector of 3 i32
    pca           mean: matrix | orthonormal basis: matrix | eigenvalues: matrix | triangles: vector of 3 i32
    matrix        rows i32 | columns i32 | f32 column by column
    vector        length u64 | elements
    optional      1 byte: 1 if there is nothing, else 0 and then the value
    expression    i32: 0, then a pca; or 1, then a vector of blendshapes: name (length u64, bytes) | offsets: matrix
    names         length u64 | name, vertex i32 ...

The Surrey Face Model keeps its six blendshapes in a file of their own, expression_blendshapes_3448.bin.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from focus_ray.errors import FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import read_bytes
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.landmark_file import read_landmarks
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import whole
from focus_ray.face_models.importers.named_modes import named_modes
from focus_ray.face_models.importers.source_checks import MAX_VERTICES, check_faces, check_mean, check_source
from focus_ray.face_models.importers.source_model import Albedo, SourceModel
from focus_ray.face_models.importers.terms import EOS, EOS_CONVERTED, with_text
from focus_ray.face_models.landmarks import INNER_POINTS, N_LANDMARKS
from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.face_models.provenance import Provenance

SURREY_VERTICES = 3448
BLENDSHAPE_SIGMA = 0.35
"""Standard deviation of the weight of each blendshape, as for the expressions of the parametric face."""

# iBUG landmark (from 0) to vertex of the Surrey Face Model, from eos' ibug_to_sfm.txt. It has no jaw line but the chin,
# and no inner corners of the mouth (60, 64), which are closed and stand at the outer ones here.
_SURREY = {
    8: 33, 17: 225, 18: 229, 19: 233, 20: 2086, 21: 157, 22: 590, 23: 2091, 24: 666, 25: 662, 26: 658, 27: 2842,
    28: 379, 29: 272, 30: 114, 31: 100, 32: 2794, 33: 270, 34: 2797, 35: 537, 36: 177, 37: 172, 38: 191, 39: 181,
    40: 173, 41: 174, 42: 614, 43: 624, 44: 605, 45: 610, 46: 607, 47: 606, 48: 398, 49: 315, 50: 413, 51: 329,
    52: 825, 53: 736, 54: 812, 55: 841, 56: 693, 57: 411, 58: 264, 59: 431, 60: 398, 61: 416, 62: 423, 63: 828,
    64: 812, 65: 817, 66: 442, 67: 404,
}  # fmt: skip
# Vertices along the outline of the face, from the temple to the chin, from eos' sfm_model_contours.json.
_SURREY_RIGHT = (380, 373, 356, 358, 359, 360, 365, 363, 364, 388, 391, 392, 393, 11, 21, 25, 22)
_SURREY_LEFT = (795, 790, 773, 775, 776, 777, 782, 780, 781, 802, 805, 806, 807, 454, 464, 466, 465)
_ORIGIN = np.array([0.0, 0.2, 29.2])  # mm: centre of the inner landmarks of the parametric face


@dataclass(frozen=True, eq=False)
class _Pca:
    mean: Float[np.ndarray, " N"]
    modes: Float[np.ndarray, "K N"]
    triangles: Int[np.ndarray, "F 3"]


class _Archive:
    """A cereal archive; no claimed length is believed before the bytes are there."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = printable(name)
        self._position = 0

    def _take(self, count: int, kind: str) -> np.ndarray:
        kind_of = np.dtype(kind)
        rest = len(self._content) - self._position
        if not 0 <= count * kind_of.itemsize <= rest:
            raise FaceModelError(
                f"{self._name} claims {count} further values but ends after {rest} bytes; get the file again"
            )
        values = np.frombuffer(self._content, kind_of, count, self._position)
        self._position += count * kind_of.itemsize
        return values

    def number(self, kind: str) -> int:
        return int(self._take(1, kind)[0])

    def matrix(self) -> Float[np.ndarray, "C R"]:
        """Return the transpose of a matrix: its columns."""
        rows, columns = self.number("<i4"), self.number("<i4")
        if rows < 0 or columns < 0:
            raise FaceModelError(f"{self._name} has a matrix of {rows} x {columns}; get the file again")
        return self._take(rows * columns, "<f4").reshape(columns, rows)

    def vector(self, kind: str, width: int) -> np.ndarray:
        return self._take(self.number("<u8") * width, kind).reshape(-1, width)

    def text(self) -> str:
        return self._take(self.number("<u8"), "<u1").tobytes().decode("utf-8", "replace")

    def pca(self) -> _Pca:
        mean, basis, eigenvalues = self.matrix(), self.matrix(), self.matrix()
        triangles = self.vector("<i4", 3)
        fits = mean.shape[0] == 1 and basis.shape in ((eigenvalues.size, mean.size), (0, 0))
        if not fits or eigenvalues.size > max(1, basis.shape[0]) or (eigenvalues < 0).any():
            raise FaceModelError(f"{self._name} has mean, basis and variances that do not fit; get the file again")
        modes = basis * np.sqrt(eigenvalues.reshape(-1, 1)[: len(basis)])
        return _Pca(mean.reshape(-1), modes, triangles)

    def blendshapes(self) -> dict[str, Float[np.ndarray, " N"]]:
        shapes: dict[str, np.ndarray] = {}
        for _ in range(self.number("<u8")):
            name = self.text()
            shapes[name] = self.matrix().reshape(-1)
        return shapes

    def expression(self) -> tuple[_Pca | None, dict[str, Float[np.ndarray, " N"]]]:
        if self.number("<u1"):
            return None, {}
        kind = self.number("<i4")
        if kind not in (0, 1):
            raise FaceModelError(f"{self._name} has expressions of the unknown kind {kind}; get the file again")
        return (self.pca(), {}) if kind == 0 else (None, self.blendshapes())

    def names(self) -> dict[str, int]:
        if self.number("<u1"):
            return {}
        return {self.text(): self.number("<i4") for _ in range(self.number("<u8"))}

    def end(self) -> None:
        if self._position != len(self._content):
            raise FaceModelError(
                f"{self._name} has {len(self._content) - self._position} bytes after its end; get the file again"
            )


@dataclass(frozen=True, eq=False)
class _Model:
    shape: _Pca
    colour: _Pca
    expression: _Pca | None
    blendshapes: dict[str, Float[np.ndarray, " N"]]
    names: dict[str, int]
    uv: Float[np.ndarray, "T 2"]


def read_eos(path: Path, options: ImportOptions) -> SourceModel:
    """Read a model of eos; its blendshapes lie beside it, or in it.

    Args:
        path: the .bin file; `expression_blendshapes_<vertices>.bin` beside it is read if it is there.
        options: `landmarks` is needed for models other than the Surrey Face Model with 3,448 vertices.

    Raises:
        FaceModelError: the file cannot be read, is malformed, or its landmarks are not known.
    """
    hashes: dict[str, str] = {}
    model = _parse(read_bytes(path, hashes), path.name)
    mean = model.shape.mean.astype(np.float64).reshape(-1, 3)
    faces = model.shape.triangles.astype(np.int64)
    check_faces(faces, len(mean), printable(path.name))
    surrey = len(mean) == SURREY_VERTICES
    notes: list[str] = []
    landmarks = _landmarks(mean, model.names, options, hashes, notes)
    triangles, weights, _ = landmarks.on(mean, whole(faces, len(mean)))
    offset = landmarks.points(mean)[list(INNER_POINTS)].mean(axis=0) - _ORIGIN
    notes.append("Moved so that eyes, nose and mouth have the centre of the parametric face's.")
    expression_mean, modes, named = _expression(model, path, options.modes[1], hashes, notes)
    if model.colour.mean.size and model.colour.mean.size != mean.size:
        raise FaceModelError(f"{printable(path)} has colours of another mesh; get the file again")
    albedo = None
    if model.colour.mean.size:
        albedo = Albedo(_triples(model.colour.mean)[0], _triples(model.colour.modes[: options.modes[2]]))
    licence = with_text(EOS if surrey else EOS_CONVERTED, options.licence, hashes)
    return check_source(
        SourceModel(
            name=f"eos-{path.stem}",
            mean=mean + expression_mean - offset,
            faces=faces,
            identity=_triples(model.shape.modes[: options.modes[0]]),
            expression=modes,
            landmark_triangles=triangles,
            landmark_barycentric=weights,
            provenance=Provenance(kind="eos", files=hashes, licence=licence, notes=tuple(notes)),
            albedo=albedo,
            # The v of eos grows downwards.
            uv=np.column_stack([model.uv[:, 0], 1 - model.uv[:, 1]]) if len(model.uv) == len(mean) else None,
            expressions=named,
        )
    )


def _parse(content: bytes, name: str) -> _Model:
    archive = _Archive(content, name)
    version = archive.number("<u4")
    if not 1 <= version <= 4:
        raise FaceModelError(f"{printable(name)} has version {version} of eos' format, not 1 to 4; check what it is")
    shape, colour = archive.pca(), archive.pca()
    expression, blendshapes = archive.expression() if version >= 2 else (None, {})
    names = archive.names() if version >= 3 else {}
    uv = archive.vector("<f8", 2)
    if version >= 4:
        archive.vector("<i4", 3)
    archive.end()
    sizes = {shape.mean.size, *(s.size for s in blendshapes.values())} | (
        {expression.mean.size} if expression else set()
    )
    if len(sizes) > 1 or shape.mean.size % 3 or not 0 < shape.mean.size <= 3 * MAX_VERTICES:
        raise FaceModelError(f"{printable(name)} has shapes of {sorted(sizes)} numbers, not 3 per vertex; get it again")
    check_mean(shape.mean, printable(name))
    return _Model(shape, colour, expression, blendshapes, names, uv)


def _landmarks(
    mean: Float[np.ndarray, "V 3"],
    names: dict[str, int],
    options: ImportOptions,
    hashes: dict[str, str],
    notes: list[str],
) -> LandmarkPlaces:
    if options.landmarks is not None:
        return read_landmarks(options.landmarks, len(mean), hashes)
    own = np.array([names.get(str(number), -1) for number in range(1, N_LANDMARKS + 1)])
    if own.min() >= 0 and own.max() < len(mean):
        return LandmarkPlaces.at_vertices(own)
    if len(mean) != SURREY_VERTICES:
        raise FaceModelError(
            f"the landmarks of this model with {len(mean)} vertices are not known; give a landmark file: "
            "68 rows in iBUG order, each a vertex"
        )
    notes.append("Landmarks of the jaw line but the chin: at equal distances along the model's outline.")
    notes.append("Landmarks of the inner corners of the mouth: at its outer corners, because the mouth is closed.")
    places = LandmarkPlaces.at_vertices(
        np.array([_SURREY.get(landmark, _SURREY[8]) for landmark in range(N_LANDMARKS)])
    )
    eye_level = float(mean[[_SURREY[36], _SURREY[45]], 1].mean())
    for outline, landmarks in ((_SURREY_RIGHT, range(8)), (_SURREY_LEFT, range(16, 8, -1))):
        vertices = np.array([*outline, _SURREY[8]])
        for landmark, (segment, share) in zip(landmarks, _along(mean[vertices], eye_level), strict=True):
            places.corners[landmark, :2] = vertices[segment : segment + 2]
            places.weights[landmark, :2] = 1 - share, share
    return places


def _along(outline: Float[np.ndarray, "N 3"], top: float) -> list[tuple[int, float]]:
    """Return 8 places at equal distances on an outline, from the height `top` to its end, without the end.

    Returns:
        Segment and share of its length of each place.
    """
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    start = np.interp(-top, -outline[:, 1], length)
    at = np.linspace(start, length[-1], 9)[:8]
    segments = np.clip(np.searchsorted(length, at, side="right") - 1, 0, len(outline) - 2)
    return [
        (int(one), float((a - length[one]) / (length[one + 1] - length[one])))
        for one, a in zip(segments, at, strict=True)
    ]


def _expression(
    model: _Model, path: Path, wanted: int, hashes: dict[str, str], notes: list[str]
) -> tuple[Float[np.ndarray, "V 3"] | float, Float[np.ndarray, "E V 3"], NamedExpressions | None]:
    """Return the mean expression, the modes and the named shapes."""
    if model.expression is not None:
        return _triples(model.expression.mean)[0], _triples(model.expression.modes[:wanted]), None
    shapes = model.blendshapes
    beside = path.with_name(f"expression_blendshapes_{model.shape.mean.size // 3}.bin")
    if not shapes and beside.exists():
        archive = _Archive(read_bytes(beside, hashes), beside.name)
        shapes = archive.blendshapes()
        archive.end()
        if {shape.size for shape in shapes.values()} != {model.shape.mean.size}:
            raise FaceModelError(f"{printable(beside.name)} has shapes of another mesh; get it again")
    if not shapes:
        notes.append(f"Expression: none; {beside.name} is not beside the model.")
        return 0.0, np.zeros((0, model.shape.mean.size // 3, 3), np.float32), None
    named = {name: _triples(shape)[0].astype(np.float64) for name, shape in shapes.items()}
    modes, expressions = named_modes(BLENDSHAPE_SIGMA * np.stack(list(named.values())), named, wanted)
    notes.append(
        f"Expression: principal modes of {len(named)} shapes, weights of standard deviation {BLENDSHAPE_SIGMA}."
    )
    return 0.0, modes, expressions


def _triples(rows: np.ndarray) -> Float[np.ndarray, "K V 3"]:
    return rows.reshape(-1, rows.shape[-1] // 3, 3)
