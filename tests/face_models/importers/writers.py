"""Writes generated face models in the exact layout of the published files."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focus_ray.face_models.importers.bfm import FULL_MESH_2017, LANDMARK_VERTICES
from focus_ray.face_models.importers.named_landmarks import NAMES
from tests.ellipsoid_face import ellipsoid_face

BFM_ORIGIN = np.array([0.0, 0.0, 100.0])


@dataclass(frozen=True)
class Toy:
    """A small face: half an ellipsoid, and two eyeballs that are surfaces of their own."""

    mean: np.ndarray
    faces: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray
    right_eyeball: np.ndarray
    left_eyeball: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        corners = self.mean[self.faces[self.landmark_triangles]]
        return np.einsum("lk,lkd->ld", self.landmark_weights, corners)

    def modes(self, count: int, seed: int = 0) -> np.ndarray:
        """Random smooth modes [count, V, 3], mm per sigma, by falling variance."""
        rng = np.random.default_rng(seed)
        waves = np.sin(self.mean @ rng.normal(size=(3, count)) / 60 + rng.normal(size=count))
        directions = rng.normal(size=(count, 3))
        return np.einsum("vk,kd->kvd", waves, directions) * (5.0 / np.arange(1, count + 1))[:, None, None]


def toy() -> Toy:
    face = ellipsoid_face(1, 1, 1)
    mean, faces = face.mean.numpy().astype(np.float64), face.faces.numpy()
    triangles, weights = face.landmark_triangles.numpy(), face.landmark_barycentric.numpy().astype(np.float64)
    points = np.einsum("lk,lkd->ld", weights, mean[faces[triangles]])
    pieces, ends = [mean], [len(mean)]
    for eye in (points[36:42], points[42:48]):
        ball, ball_faces = _sphere(eye.mean(axis=0) - [0, 0, 13], 12.0)
        pieces.append(ball)
        faces = np.concatenate([faces, ball_faces + ends[-1]])
        ends.append(ends[-1] + len(ball))
    number = np.arange(ends[-1])
    right, left = (number >= ends[0]) & (number < ends[1]), number >= ends[1]
    return Toy(np.concatenate(pieces), faces, triangles, weights, right, left)


def _sphere(centre: np.ndarray, radius: float, rings: int = 6, spokes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    polar, around = np.meshgrid(
        np.linspace(0.2, np.pi - 0.2, rings), np.arange(spokes) * 2 * np.pi / spokes, indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
    a = np.arange(rings * spokes).reshape(rings, spokes)
    b, c, d = np.roll(a, -1, axis=1)[:-1], a[1:], np.roll(a, -1, axis=1)[1:]
    faces = np.concatenate([np.stack([a[:-1], c, d], -1).reshape(-1, 3), np.stack([a[:-1], d, b], -1).reshape(-1, 3)])
    return centre + radius * points.reshape(-1, 3), faces


def named_points(landmarks: np.ndarray) -> list[dict[str, Any]]:
    """The metadata of the BFM: points with names, in its own frame."""
    points = [{"id": name, "coordinates": list(landmarks[number] + BFM_ORIGIN)} for number, name in NAMES.items()]
    return [*points, {"id": "right.ear.lobule.tip", "coordinates": [-68.8, -18.7, 11.6]}]


def write_bfm(
    path: Path, face: Toy, modes: tuple[int, int, int] = (12, 9, 7), *, metadata: str | None = "json"
) -> None:
    import h5py

    n = len(face.mean)
    rng = np.random.default_rng(1)
    means = {
        "shape": (face.mean + BFM_ORIGIN).ravel(),
        "expression": rng.normal(size=3 * n) * 0.1,
        "color": rng.uniform(0.2, 0.8, 3 * n),
    }
    with h5py.File(path, "w") as file:
        for (group, mean), count in zip(means.items(), modes, strict=True):
            basis = np.linalg.qr(rng.normal(size=(3 * n, count))).Q
            file[f"{group}/model/mean"] = mean.astype(np.float32)
            file[f"{group}/model/pcaBasis"] = basis.astype(np.float32)
            file[f"{group}/model/pcaVariance"] = (100.0 / np.arange(1, count + 1)).astype(np.float32)
            file[f"{group}/model/noiseVariance"] = np.float32(0)
            file[f"{group}/representer/points"] = (face.mean + BFM_ORIGIN).T.astype(np.float32)
            file[f"{group}/representer/cells"] = face.faces.T.astype(np.int32)
        points = named_points(face.landmarks)
        if metadata == "json":
            file["metadata/landmarks/json"] = np.bytes_(json.dumps(points))
        elif metadata == "text":
            lines = ["{} 1 {} {} {}".format(point["id"], *point["coordinates"]) for point in points]
            file["metadata/landmarks/text"] = np.bytes_("\n".join(lines))


def write_full_bfm(path: Path) -> np.ndarray:
    """Write a file of the full size of the BFM 2017 (53,149 vertices, 199 / 100 / 199 modes), in pieces.

    Returns:
        The mean shape in the file's frame, mm.
    """
    import h5py
    from scipy.spatial import Delaunay, KDTree

    n = FULL_MESH_2017
    small = toy()
    index = np.arange(n) + 0.5
    radius, angle = 0.985 * np.sqrt(index / n), np.pi * (1 + 5**0.5) * index
    disk = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    height = np.sqrt(1 - (disk**2).sum(axis=1, keepdims=True))
    mean = np.concatenate([disk, height], axis=1) * [82, 112, 100] + [0, -10, -70]
    mean[:, 2] += 33 * np.exp(-((mean[:, 0] / 11) ** 2) - ((mean[:, 1] + 4.6) / 15) ** 2)
    faces = Delaunay(disk).simplices
    one, two = disk[faces[:, 1]] - disk[faces[:, 0]], disk[faces[:, 2]] - disk[faces[:, 0]]
    clockwise = one[:, 0] * two[:, 1] < one[:, 1] * two[:, 0]
    faces[clockwise] = faces[clockwise, ::-1]
    # The landmarks get their published numbers: vertices are exchanged.
    order = np.arange(n)
    for number, place in zip(LANDMARK_VERTICES, KDTree(mean).query(small.landmarks)[1], strict=True):
        at = np.flatnonzero(order == place)[0]
        order[number], order[at] = order[at], order[number]
    renumbered = np.empty(n, np.int64)
    renumbered[order] = np.arange(n)
    mean, faces = (mean[order] + BFM_ORIGIN).astype(np.float32), renumbered[faces]
    rng = np.random.default_rng(0)
    piece = rng.normal(size=(3 * 4096, 199)).astype(np.float32) / np.sqrt(3 * n)
    with h5py.File(path, "w") as file:
        for group, count in (("shape", 199), ("expression", 100), ("color", 199)):
            flat = {"shape": mean.ravel(), "expression": np.zeros(3 * n), "color": np.full(3 * n, 0.5)}[group]
            file[f"{group}/model/mean"] = flat.astype(np.float32)
            file[f"{group}/model/pcaVariance"] = (1e5 / np.arange(1, count + 1)).astype(np.float32)
            basis = file.create_dataset(f"{group}/model/pcaBasis", (3 * n, count), np.float32)
            for start in range(0, 3 * n, len(piece)):
                basis[start : start + len(piece)] = piece[: min(len(piece), 3 * n - start), :count]
        file["shape/representer/points"] = mean.T
        file["shape/representer/cells"] = faces.T.astype(np.int32)
    return mean


# FLAME ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ch:
    """Stands for chumpy.ch.Ch of an array."""

    array: np.ndarray


@dataclass(frozen=True)
class Sparse:
    """Stands for scipy.sparse.csc.csc_matrix."""

    dense: np.ndarray


def python2_pickle(value: Any) -> bytes:
    """Pickle as Python 2 did with protocol 2: texts and the bytes of arrays are its `str`."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:  # noqa: C901  (one case for each type)
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value)
        case str():
            return _opcodes(value.encode("latin1"))
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(one) for pair in value.items() for one in pair) + b"u"
        case np.ndarray():
            made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _opcodes((0,)) + _opcodes("b") + b"tR"
            dtype = b"cnumpy\ndtype\n" + _opcodes((value.dtype.str[1:], 0, 1)) + b"R"
            dtype += _opcodes((3, "<", None, None, None, -1, -1, 0)) + b"b"
            state = (
                b"(" + _opcodes(1) + _opcodes(value.shape) + dtype + _opcodes(False) + _opcodes(value.tobytes()) + b"t"
            )
            return made + state + b"b"
        case Ch():
            dirty = b"c__builtin__\nset\n" + _opcodes(([],)) + b"R"
            state = b"}(" + _opcodes("x") + _opcodes(value.array) + _opcodes("_dirty_vars") + dirty + b"u"
            return _new("chumpy.ch", "Ch") + state + b"b"
        case Sparse():
            rows, columns = value.dense.T.nonzero()
            state = {
                "data": value.dense.T[rows, columns],
                "indices": columns.astype(np.int32),
                "indptr": np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=value.dense.shape[1]))]).astype(
                    np.int32
                ),
                "_shape": value.dense.shape,
                "maxprint": 50,
            }
            return _new("scipy.sparse.csc", "csc_matrix") + _opcodes(state) + b"b"
    raise TypeError(type(value))


def _new(module: str, name: str) -> bytes:
    return b"ccopy_reg\n_reconstructor\n(c%b\n%b\nc__builtin__\nobject\nNtR" % (module.encode(), name.encode())


def flame_arrays(face: Toy) -> dict[str, Any]:
    """The arrays of a FLAME model of the toy face, m; 5 joints; the jaw moves what lies below the mouth."""
    n = len(face.mean)
    rng = np.random.default_rng(2)
    weights = np.zeros((n, 5))
    weights[:, 2] = np.where(face.mean[:, 1] < face.landmarks[48, 1] - 1, 0.9, 0.0)
    weights[face.right_eyeball | face.left_eyeball] = 0
    weights[:, 1] = 1 - weights[:, 2]
    regressor = np.zeros((5, n))
    regressor[:, np.argsort(np.abs(face.mean[:, 2] + 60))[:4]] = 0.25
    return {
        "v_template": face.mean / 1000,
        "f": face.faces.astype(np.uint32),
        "shapedirs": face.modes(400).transpose(1, 2, 0) / 1000,
        "posedirs": rng.normal(size=(n, 3, 36)) * 1e-4,
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "bs_style": "lbs",
    }


def write_flame(path: Path, face: Toy, **changed: Any) -> None:
    """Write a pickle as the published ones are: chumpy arrays, a sparse regressor, Python 2."""
    arrays = flame_arrays(face)
    content = arrays | {key: Ch(arrays[key]) for key in ("v_template", "shapedirs", "posedirs", "weights")}
    content["J_regressor"] = Sparse(arrays["J_regressor"])
    content |= changed
    path.write_bytes(python2_pickle({key: value for key, value in content.items() if value is not ...}))


def flame_embedding(face: Toy) -> dict[str, np.ndarray]:
    """The landmark embedding of DECA: 68 of all, 51 without the jaw line, and the outline at 79 turns of the head."""
    triangles, weights = face.landmark_triangles, face.landmark_weights
    return {
        "full_lmk_faces_idx": triangles[None],
        "full_lmk_bary_coords": weights[None],
        "static_lmk_faces_idx": triangles[17:],
        "static_lmk_bary_coords": weights[17:],
        "dynamic_lmk_faces_idx": np.repeat(triangles[None, :17], 79, axis=0),
        "dynamic_lmk_bary_coords": np.repeat(weights[None, :17], 79, axis=0),
    }


def write_embedding(path: Path, embedding: Mapping[str, np.ndarray]) -> None:
    match path.suffix:
        case ".npy":
            np.save(path, np.array(dict(embedding), dtype=object))
        case ".npz":
            np.savez(path, **embedding)
        case ".json":
            path.write_text(json.dumps({key: value.tolist() for key, value in embedding.items()}))
        case ".pkl":
            path.write_bytes(python2_pickle(dict(embedding)))


# eos -----------------------------------------------------------------------------------------------------------------


def eos_matrix(array: np.ndarray) -> bytes:
    """An Eigen matrix; a vector is a column."""
    columns = array.reshape(len(array), -1)
    return struct.pack("<ii", *columns.shape) + columns.T.astype("<f4").tobytes()


def eos_vector(array: np.ndarray, kind: str) -> bytes:
    return struct.pack("<Q", len(array)) + array.astype(kind).tobytes()


def eos_pca(mean: np.ndarray, modes: np.ndarray, faces: np.ndarray) -> bytes:
    """Modes [K, V, 3] as an orthonormal basis and its variances."""
    flat = modes.reshape(len(modes), -1)
    norms = np.linalg.norm(flat, axis=1)
    basis = (flat / norms[:, None]).T if len(modes) else np.zeros((0, 0))
    return eos_matrix(mean.ravel()) + eos_matrix(basis) + eos_matrix(norms**2) + eos_vector(faces, "<i4")


def eos_text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def eos_blendshapes(shapes: Mapping[str, np.ndarray]) -> bytes:
    content = b"".join(eos_text(name) + eos_matrix(shape.ravel()) for name, shape in shapes.items())
    return struct.pack("<Q", len(shapes)) + content


NO_COLOURS = struct.pack("<ii", 0, 1) + struct.pack("<ii", 0, 0) + struct.pack("<ii", 0, 1) + struct.pack("<Q", 0)


def eos_model(
    face: Toy, version: int = 1, *, colours: bool = False, expression: bytes = b"\x01", names: bytes = b"\x01"
) -> bytes:
    """A whole model; expression and names are optional values: a byte 1 for nothing."""
    content = struct.pack("<I", version) + eos_pca(
        face.mean, np.linalg.qr(face.modes(6).reshape(6, -1).T).Q.T * 9, face.faces
    )
    content += eos_pca(np.full(face.mean.shape, 0.5), face.modes(4) / 100, face.faces) if colours else NO_COLOURS
    content += expression if version >= 2 else b""
    content += names if version >= 3 else b""
    content += eos_vector(np.random.default_rng(0).uniform(size=(len(face.mean), 2)), "<f8")
    return content + (eos_vector(face.faces, "<i4") if version >= 4 else b"")


# GNM -----------------------------------------------------------------------------------------------------------------


def gnm_arrays(face: Toy) -> dict[str, np.ndarray]:
    n = len(face.mean)
    eyes = face.right_eyeball | face.left_eyeball
    groups = {
        "skin": ~eyes,
        "hockey_mask": ~eyes & (face.mean[:, 1] < 80),
        "eye_exteriors": eyes,
        "eye_interiors": np.zeros(n, bool),
        "left_eye": face.left_eyeball,
        "right_eye": face.right_eyeball,
        "teeth": np.zeros(n, bool),
        "mouth_sock": np.zeros(n, bool),
    }
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": ((face.mean + np.array([0, 290, 60])) / 1000).astype(np.float32),
        "vertex_identity_basis": (face.modes(20, 3)[::-1] / 1000).astype(np.float32),
        "expression_basis": (face.modes(15, 4)[::-1] / 1000).astype(np.float32),
        "triangles": face.faces.astype(np.int32),
        "vertex_groups": np.stack(list(groups.values())).astype(np.float32),
        "vertex_group_names": np.array(list(groups)),
        "identity_names": np.array([f"head_{i:03}" for i in range(20)]),
        "expression_names": np.array([f"lower_face_region_{i:03}" for i in range(15)]),
    }


def gnm_landmark_text(face: Toy) -> str:
    """As head_sparse_68.txt: vertex and weight in turn, some of the jaw line in reverse."""
    corners = face.faces[face.landmark_triangles]
    order = [0, 1, 6, 5, 4, 3, 2, *range(7, 68)]
    rows = [
        " ".join(
            f"{vertex} {weight:.6f}" for vertex, weight in zip(corners[row], face.landmark_weights[row], strict=True)
        )
        for row in order
    ]
    return "\n".join(rows) + "\n"


def write_gnm(path: Path, face: Toy, **changed: np.ndarray) -> None:
    np.savez_compressed(path, **(gnm_arrays(face) | changed))
    path.with_name("head_sparse_68.txt").write_text(gnm_landmark_text(face))
