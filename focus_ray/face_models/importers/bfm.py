"""Basel Face Model 2017 and 2019, as published in HDF5.

    {shape,expression,color}/model/{mean [3V], pcaBasis [3V, K], pcaVariance [K]},  shape/representer/cells [3, F],
    metadata/landmarks/json (or text)

The 3V numbers are vertex by vertex: x, y, z in mm or red, green, blue in [0, 1]. One sigma of a mode is its column of
pcaBasis times the root of its variance. Only the leading columns are read, in pieces.

The 68 landmarks are known by vertex only for the full mesh of 2017: the ids are those of the released code of FOCUS.
Other meshes get theirs from a file, or from the named points in their metadata, see named_landmarks.py.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from focus_ray.errors import FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import hash_file
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.landmark_file import read_landmarks
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import Region, keep_region, whole
from focus_ray.face_models.importers.named_landmarks import landmarks_from_names, parse_named_points
from focus_ray.face_models.importers.source_checks import MAX_VERTICES, check_faces, check_mean, check_source
from focus_ray.face_models.importers.source_model import Albedo, SourceModel
from focus_ray.face_models.importers.terms import BFM, with_text
from focus_ray.face_models.provenance import Provenance

if TYPE_CHECKING:
    import h5py

VARIANTS = {
    53149: "BFM 2017",
    28588: "BFM 2017 face12",
    47439: "BFM 2019",
    27657: "BFM 2019 face12",
    58203: "BFM 2019 full head",
}
"""The published meshes by their number of vertices."""

FULL_MESH_2017 = 53149
LANDMARK_VERTICES = (
    22212, 23003, 23412, 23817, 44075, 45617, 46739, 47456, 47847, 48237, 48953, 50064, 51700, 30656, 31279, 31775,
    32532, 38719, 39462, 39835, 40033, 40252, 40668, 40882, 41081, 41459, 42172, 8124, 8140, 8149, 8155, 6750, 7459,
    8171, 8993, 9699, 2735, 4275, 5050, 6088, 4804, 4030, 10263, 11159, 11932, 13746, 12203, 11429, 5394, 6283, 7474,
    8183, 9007, 10203, 11116, 9380, 8673, 8201, 7847, 7020, 6539, 7600, 8190, 8780, 10339, 8545, 8191, 7837,
)  # fmt: skip
"""Vertices of the 68 landmarks on the full mesh of 2017, iBUG order."""

_ORIGIN = np.array([0.0, 0.0, 100.0])  # mm, as the released code of FOCUS
_MAX_BYTES = 1 << 30  # the full head of 2019 has 350 MB
_MAX_MODES = 1000
_MAX_CHUNK_BYTES = 1 << 28
_MAX_TEXT_BYTES = 1 << 20
_PIECE = 3 * 8192  # rows that are read at once
_MOVED_MM = 0.05
_FILTERS = {1, 2, 3}  # deflate, shuffle, checksum: what every HDF5 has; others are plug-ins


def read_bfm(path: Path, options: ImportOptions) -> SourceModel:
    """Read a file of the Basel Face Model.

    Args:
        path: the h5 file.
        options: `crop` keeps the face of a full mesh; the face12 meshes are kept whole.

    Raises:
        FaceModelError: the file cannot be read, is malformed, links elsewhere, or has no usable landmarks.
    """
    import h5py

    hashes: dict[str, str] = {}
    hash_file(path, hashes, _MAX_BYTES)
    try:
        with h5py.File(path, "r") as file:
            return check_source(_read(file, options, hashes, path.stem))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        reason = " ".join(printable(error).split())[:200]
        raise FaceModelError(f"{printable(path)} is damaged or no file of the BFM ({reason}); get it again") from None


def _read(file: "h5py.File", options: ImportOptions, hashes: dict[str, str], name: str) -> SourceModel:
    shape_mean = _numbers(file, "shape/model/mean", (-3,))
    n_vertices = len(shape_mean) // 3
    faces = _faces(file, n_vertices)
    vertices = shape_mean.reshape(-1, 3)
    check_mean(vertices, "shape/model/mean")
    variant = VARIANTS.get(n_vertices, f"BFM with {n_vertices} vertices")
    notes = [f"Mesh: {variant}."]
    landmarks = _landmarks(file, vertices, faces, options, hashes, notes)
    region = whole(faces, n_vertices)
    if options.crop and "face12" not in variant:
        region = keep_region(faces, facial_vertices(vertices))
        notes.append(f"Cropped to the face: {len(region.vertices)} of {n_vertices} vertices.")
    triangles, weights, moved = landmarks.on(vertices, region)
    if far := [f"{number} by {moved[number]:.1f} mm" for number in np.flatnonzero(moved > _MOVED_MM)]:
        notes.append(f"Landmarks outside of the crop, moved to its nearest point: {', '.join(far)}.")
    mean = shape_mean + _numbers(file, "expression/model/mean", (3 * n_vertices,))
    notes.append("Mean: with the mean expression, less (0, 0, 100) mm.")
    albedo = None
    if "color" in file:
        colours = _numbers(file, "color/model/mean", (3 * n_vertices,)).reshape(-1, 3)[region.vertices]
        albedo = Albedo(colours, _leading_modes(file, "color", options.modes[2], region, n_vertices, notes))
    return SourceModel(
        name=f"bfm-{name}",
        mean=mean.reshape(-1, 3)[region.vertices] - _ORIGIN,
        faces=region.faces,
        identity=_leading_modes(file, "shape", options.modes[0], region, n_vertices, notes),
        expression=_leading_modes(file, "expression", options.modes[1], region, n_vertices, notes),
        landmark_triangles=triangles,
        landmark_barycentric=weights,
        provenance=Provenance(
            kind="bfm", files=hashes, licence=with_text(BFM, options.licence, hashes), notes=tuple(notes)
        ),
        albedo=albedo,
    )


def facial_vertices(vertices: Float[np.ndarray, "V 3"]) -> Bool[np.ndarray, " V"]:
    """Mark the vertices of the face, without ears and neck.

    The rule of the first public version of the code of FOCUS: three ellipses around the directions from the origin of
    the Basel Face Model, which lies inside of the head, and a limit of depth.

    Args:
        vertices: mean shape, mm, in the file's own frame.
    """
    x, y, z = vertices.astype(np.float64).T
    depth = np.maximum(z, 1e-6)  # vertices behind the origin are behind the limit of depth anyway
    across = x / depth
    ellipses = [
        (across / 100) ** 2 + (y / depth / 0.75) ** 2 <= 1,
        (across / 100) ** 2 + ((y + 18) / depth / 0.62) ** 2 <= 1,
        (across / 3.2) ** 2 + ((y - 25) / depth / 0.92) ** 2 <= 1,
    ]
    return np.logical_or.reduce(ellipses) & (z + 0.05 * y > 20)


def _landmarks(
    file: "h5py.File",
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    options: ImportOptions,
    hashes: dict[str, str],
    notes: list[str],
) -> LandmarkPlaces:
    """Return the landmarks on the whole mesh."""
    if options.landmarks is not None:
        return read_landmarks(options.landmarks, len(vertices), hashes)
    if len(vertices) == FULL_MESH_2017:
        return LandmarkPlaces.at_vertices(np.array(LANDMARK_VERTICES))
    points, anchors = landmarks_from_names(_named_points(file))
    notes.append(
        f"Landmarks: {anchors} are points with a name in the file; the others are those of the parametric face, "
        "warped to fit these. On the Surrey Face Model that is 3 mm off inside of the face and 15 mm along the jaw."
    )
    return LandmarkPlaces.near_points(points, vertices, faces)


def _named_points(file: "h5py.File") -> dict[str, tuple[float, float, float]]:
    for key in ("metadata/landmarks/json", "metadata/landmarks/text"):
        if key in file:
            return parse_named_points(_text(file, key))
    return {}


def _faces(file: "h5py.File", n_vertices: int) -> Int[np.ndarray, "F 3"]:
    cells = _dataset(file, "shape/representer/cells", (3, None), n_vertices)[...]
    check_faces(cells.T, n_vertices, "shape/representer/cells")
    return np.ascontiguousarray(cells.T, dtype=np.int64)


def _leading_modes(
    file: "h5py.File", group: str, wanted: int, region: Region, n_vertices: int, notes: list[str]
) -> Float[np.ndarray, "K V 3"]:
    """Read the leading modes of a group on a region, times sigma."""
    variance = _numbers(file, f"{group}/model/pcaVariance", (None,))
    basis = _dataset(file, f"{group}/model/pcaBasis", (3 * n_vertices, len(variance)), n_vertices)
    if (variance < 0).any():
        raise FaceModelError(f"{group}/model/pcaVariance has a negative number; get the file again")
    count = min(wanted, len(variance))
    if count < len(variance):
        notes.append(f"{group.capitalize()}: the leading {count} of {len(variance)} modes were read.")
    sigma = np.sqrt(variance[:count]).astype(np.float32)
    kept = np.zeros(n_vertices, bool)
    kept[region.vertices] = True
    rows = kept.repeat(3)
    modes = np.empty((count, 3 * len(region.vertices)), np.float32)
    end = 0
    for start in range(0, len(rows), _PIECE):
        inside = rows[start : start + _PIECE]
        if inside.any():
            piece = basis[start : start + _PIECE, :count][inside] * sigma
            modes[:, end : end + len(piece)] = piece.T
            end += len(piece)
    return modes.reshape(count, -1, 3)


def _numbers(file: "h5py.File", key: str, shape: tuple[int | None, ...]) -> Float[np.ndarray, " N"]:
    numbers = _dataset(file, key, shape, MAX_VERTICES)[...].astype(np.float64)
    if not np.isfinite(numbers).all():
        raise FaceModelError(f"{key} has a number that is not finite; get the file again")
    return numbers


def _dataset(file: "h5py.File", key: str, shape: tuple[int | None, ...], n_vertices: int) -> Any:
    """Return a data set of numbers that lie in this file, with the given shape; None: any length, -3: triples."""
    data = _follow(file, key)
    if data.dtype.kind not in "fiu" or data.dtype.itemsize > 8:
        raise FaceModelError(f"{key} has the type {data.dtype}, not numbers; get the file again")
    most = 4 * n_vertices if key.endswith("cells") else 3 * MAX_VERTICES
    expected = tuple(own if want in (None, -3) else want for own, want in zip(data.shape, shape, strict=False))
    fits = len(data.shape) == len(shape) and data.shape == expected and all(0 < n <= most for n in data.shape)
    fits = fits and (-3 not in shape or data.shape[0] % 3 == 0)
    if not fits or (key.endswith(("pcaBasis", "pcaVariance")) and data.shape[-1] > _MAX_MODES):
        raise FaceModelError(f"{key} has the shape {data.shape}, which does not fit to a BFM; get the file again")
    return data


def _follow(file: "h5py.File", key: str) -> Any:
    """Return the data set of a key; it must lie in this file, without links, and need no plug-in."""
    import h5py

    node: Any = file
    for name in key.split("/"):
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise FaceModelError(f"the file has no {key}; give a file of the BFM 2017 or 2019")
        if not isinstance(link, h5py.HardLink):
            raise FaceModelError(f"{key} is a link, which no published file has; do not trust this file")
        node = node[name]
    if not isinstance(node, h5py.Dataset):
        raise FaceModelError(f"{key} is not a data set; give a file of the BFM 2017 or 2019")
    if node.is_virtual or node.external:
        raise FaceModelError(f"{key} takes its values from another file; do not trust this file")
    properties = node.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    chunk = math.prod(node.chunks or (0,)) * node.dtype.itemsize
    if not set(filters) <= _FILTERS or chunk > _MAX_CHUNK_BYTES:
        raise FaceModelError(f"{key} is packed in a way that published files are not; store it uncompressed")
    if node.shape is None or (not filters and node.id.get_storage_size() < math.prod(node.shape) * node.dtype.itemsize):
        raise FaceModelError(f"{key} claims the shape {node.shape}, but its values are not in the file; get it again")
    return node


def _text(file: "h5py.File", key: str) -> str:
    data = _follow(file, key)
    if data.size != 1 and data.dtype.kind not in "iu":
        raise FaceModelError(f"{key} is not one text; get the file again")
    if data.nbytes > _MAX_TEXT_BYTES:
        raise FaceModelError(f"{key} has {data.nbytes} bytes, more than {_MAX_TEXT_BYTES}; get the file again")
    value = np.asarray(data[()])
    content = value.tobytes() if value.dtype.kind in "SViu" else value.reshape(-1)[0]
    if isinstance(content, str):
        content = content.encode()
    return content.decode("utf-8", "replace").rstrip("\0")
