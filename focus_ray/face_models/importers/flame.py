"""FLAME 2020, 2023 and 2023 Open: the linear part of a pickle, with the jaw's rotation as further modes.

    v_template [V, 3] m, shapedirs [V, 3, 400] m per sigma (300 identity, 100 expression), f [F, 3],
    posedirs [V, 3, 9 (J - 1)], J_regressor [J, V] sparse, weights [V, J]; joints: root, neck, jaw, right and left eye

FLAME's expressions do not open the mouth: its jaw turns. The turn of the jaw about each axis, as derivative at the rest
pose, becomes a mode of its own, with the standard deviation of _JAW_SIGMA:

    dV/dangle = weight_jaw (axis x (V - joint_jaw)) + posedirs_jaw vec([axis]_x)

Landmarks come in a file of their own: landmark_embedding.npy and others, by triangle and weights.
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from focus_ray.errors import FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import read_bytes, read_npy_header, read_npz
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.landmark_file import read_landmarks
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import component_of_each_vertex, whole
from focus_ray.face_models.importers.named_modes import named_modes
from focus_ray.face_models.importers.restricted_pickle import Array, Inert, read_pickle
from focus_ray.face_models.importers.source_checks import MAX_VERTICES, check_faces, check_mean, check_source
from focus_ray.face_models.importers.source_model import SourceModel
from focus_ray.face_models.importers.terms import FLAME, FLAME_OPEN, with_text
from focus_ray.face_models.landmarks import INNER_POINTS, N_LANDMARKS
from focus_ray.face_models.provenance import Licence, Provenance

N_IDENTITY = 300
_MAX_JOINTS = 100
_MAX_EMBEDDING_BYTES = 16 << 20  # published ones have 100 kB
_REQUIRED, _OF_JOINTS = ("v_template", "f", "shapedirs"), ("posedirs", "J_regressor", "weights")
_JAW = 2  # among the joints
_MM = 1000.0  # per m
_ORIGIN = np.array([0.0, 0.2, 29.2])  # mm: centre of the inner landmarks of the parametric face
_JAW_SIGMA = {"x": 0.15, "y": 0.04, "z": 0.03}  # rad: opening, sideways, tilting
_JAW_NAMES = {"jawOpen": ("x", 0.35), "jawLeft": ("y", 0.12), "jawRight": ("y", -0.12)}  # rad at weight 1
# Names of the landmark files that are looked for beside the model.
LANDMARK_FILES = ("landmark_embedding.npy", "flame_static_embedding_68_v4.npz", "landmark_embedding.json")
_EMBEDDINGS = (
    ("full_lmk_faces_idx", "full_lmk_bary_coords"),
    ("lmk_face_idx", "lmk_b_coords"),
    ("lmk_faces_idx", "lmk_bary_coords"),
)
_STATIC = ("static_lmk_faces_idx", "static_lmk_bary_coords")
_DYNAMIC = ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords")


def read_flame(path: Path, options: ImportOptions) -> SourceModel:
    """Read a model of FLAME.

    Args:
        path: the pkl file.
        options: `landmarks` is an embedding (npy, npz, json or pkl with triangles and weights) or a landmark file; it
            is needed unless one of LANDMARK_FILES lies beside the model.

    Raises:
        FaceModelError: a file cannot be read, is malformed or holds more than data, or there are no landmarks.
    """
    return _read(path, options, "flame", FLAME)


def read_flame_open(path: Path, options: ImportOptions) -> SourceModel:
    """Read a pkl file of FLAME 2023 Open, which has other terms; arguments and errors are those of `read_flame`.

    The file has the layout of the others, so that only its user knows which one it is.
    """
    return _read(path, options, "flame2023-open", FLAME_OPEN)


def _read(path: Path, options: ImportOptions, kind: str, licence: Licence) -> SourceModel:
    hashes: dict[str, str] = {}
    arrays = _arrays(read_pickle(read_bytes(path, hashes), path.name), path.name)
    mean, faces = arrays["v_template"] * _MM, arrays["f"].astype(np.int64)
    check_mean(mean, printable(path.name))
    notes = ["Eyes, neck and root are not moved; their joints are not part of a linear model."]
    landmarks = _landmarks(path, len(mean), faces, options, hashes)
    triangles, weights, _ = landmarks.on(mean, whole(faces, len(mean)))
    shapes = np.ascontiguousarray(arrays["shapedirs"].transpose(2, 0, 1)) * _MM
    fields, named = shapes[N_IDENTITY:], {}
    turns = _jaw_turns(arrays, mean)
    if turns:
        fields = np.concatenate([fields, [turns[axis] * sigma for axis, sigma in _JAW_SIGMA.items()]])
        named = {name: turns[axis] * angle for name, (axis, angle) in _JAW_NAMES.items()}
        notes.append(
            "Expression: principal modes of FLAME's own and of the jaw's rotation, linear in its angles, with standard "
            f"deviations of {', '.join(str(sigma) for sigma in _JAW_SIGMA.values())} rad about x, y and z."
        )
    else:
        notes.append("Expression: without the jaw's rotation; J_regressor, weights or posedirs are missing.")
    modes, expressions = named_modes(fields, named, options.modes[1])
    eyeballs = _eyeballs(mean, faces)
    if eyeballs is None:
        notes.append("Eyes: the mesh has no two separate eyeballs; they are painted as skin is.")
    return check_source(
        SourceModel(
            name=f"flame-{path.stem}",
            mean=mean - landmarks.points(mean)[list(INNER_POINTS)].mean(axis=0) + _ORIGIN,
            faces=faces,
            identity=shapes[: min(N_IDENTITY, options.modes[0])],
            expression=modes,
            landmark_triangles=triangles,
            landmark_barycentric=weights,
            provenance=Provenance(
                kind=kind, files=hashes, licence=with_text(licence, options.licence, hashes), notes=tuple(notes)
            ),
            eyeballs=eyeballs,
            expressions=expressions,
        )
    )


def _arrays(content: Any, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that are used, as float64, checked; those of the jaw only if all are there."""
    name = printable(name)
    if not isinstance(content, dict):
        raise FaceModelError(f"{name} holds no dict of arrays; give a pkl file of FLAME")
    if missing := [key for key in _REQUIRED if key not in content]:
        raise FaceModelError(f"{name} has no {', '.join(missing)}; give a pkl file of FLAME")
    wanted = (*_REQUIRED, *_OF_JOINTS) if all(key in content for key in _OF_JOINTS) else _REQUIRED
    arrays = {key: _dense(content[key], f"{name}: {key}") for key in wanted}
    n_vertices = len(arrays["v_template"])
    if not 0 < n_vertices <= MAX_VERTICES:
        raise FaceModelError(f"{name} has {n_vertices} vertices, not 1 to {MAX_VERTICES}; check what it is")
    check_faces(arrays["f"], n_vertices, name)
    joints = arrays["weights"].shape[-1] if "weights" in arrays else 0
    expected = {
        "v_template": (n_vertices, 3),
        "shapedirs": (n_vertices, 3, max(arrays["shapedirs"].shape[-1], N_IDENTITY + 1)),
        "weights": (n_vertices, max(joints, _JAW + 1)),
        "posedirs": (n_vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, n_vertices),
    }
    for key in (key for key in expected if key in arrays):
        array = arrays[key]
        if array.shape != expected[key] or array.dtype.kind != "f":
            raise FaceModelError(
                f"{name}: {key} has shape {array.shape}, not {expected[key]} numbers; get the file again"
            )
        if not np.isfinite(array).all():
            raise FaceModelError(f"{name}: {key} has a number that is not finite; get the file again")
        arrays[key] = array.astype(np.float64)
    return arrays


def _dense(value: Any, name: str) -> np.ndarray:
    """Return an array of a pickle: plain, wrapped by chumpy, or a sparse matrix."""
    if isinstance(value, Inert) and isinstance(value.state, dict):
        state = value.state
        if isinstance(state.get("x"), Array):  # chumpy.ch.Ch
            value = state["x"]
        elif value.kind.startswith("scipy.sparse"):
            return _sparse(value.kind, state, name)
    if isinstance(value, Array) and isinstance(value.values, np.ndarray):
        return value.values
    raise FaceModelError(f"{name} is not an array; load the file once with its own software and save plain arrays")


def _sparse(kind: str, state: dict[str, Any], name: str) -> Float[np.ndarray, "R C"]:
    """Return a compressed sparse matrix as a dense one."""
    data, inner, starts = (_dense(state.get(key), f"{name}.{key}") for key in ("data", "indices", "indptr"))
    shape = state.get("_shape", state.get("shape"))
    order = kind.rpartition(".")[2][:3]
    if not isinstance(shape, tuple) or len(shape) != 2 or order not in ("csc", "csr"):
        raise FaceModelError(f"{name} is no compressed sparse matrix; get the file again")
    dense = np.zeros((0, 0))
    if all(type(length) is int and 0 < length <= MAX_VERTICES for length in shape) and min(shape) <= _MAX_JOINTS:
        dense = np.zeros(shape[::-1] if order == "csc" else shape)
    counts = np.diff(starts.astype(np.int64))
    sound = data.shape == inner.shape == (counts.sum(),) and counts.shape == dense.shape[:1] and (counts >= 0).all()
    if not sound or not ((inner >= 0) & (inner < dense.shape[1])).all():
        raise FaceModelError(f"{name} is a malformed sparse matrix; get the file again")
    np.add.at(dense, (np.repeat(np.arange(len(dense)), counts), inner.astype(np.int64)), data)
    return dense.T if order == "csc" else dense


def _jaw_turns(arrays: dict[str, np.ndarray], mean: Float[np.ndarray, "V 3"]) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Return the motion of the vertices per radian of the jaw about x, y and z, mm."""
    if not set(_OF_JOINTS) <= arrays.keys():
        return {}
    around = mean - arrays["J_regressor"][_JAW] @ mean
    correctives = arrays["posedirs"][..., 9 * (_JAW - 1) : 9 * _JAW] * _MM
    turns = {}
    for name, axis in zip("xyz", np.eye(3), strict=True):
        cross = np.cross(axis, np.eye(3)).T  # the matrix [axis]_x
        turns[name] = arrays["weights"][:, [_JAW]] * (around @ cross.T) + correctives @ cross.ravel()
    return turns


def _eyeballs(
    mean: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Bool[np.ndarray, " V"], Bool[np.ndarray, " V"]] | None:
    """Return the right and left eyeball: the two largest components beside the head, on either side."""
    component = component_of_each_vertex(faces, len(mean))
    one, two = component == 1, component == 2
    if min(one.sum(), two.sum()) < 4 or (mean[one, 0].mean() < 0) == (mean[two, 0].mean() < 0):
        return None
    return (one, two) if mean[one, 0].mean() < 0 else (two, one)


def _landmarks(
    path: Path, n_vertices: int, faces: Int[np.ndarray, "F 3"], options: ImportOptions, hashes: dict[str, str]
) -> LandmarkPlaces:
    file = options.landmarks or next((p for n in LANDMARK_FILES if (p := path.with_name(n)).exists()), None)
    if file is None:
        raise FaceModelError(
            f"the landmarks of FLAME are a file of their own; give one such as {LANDMARK_FILES[0]}, "
            "or put it beside the model"
        )
    embedding = _embedding(file, hashes)
    if embedding is None:
        return read_landmarks(file, n_vertices, hashes)
    triangles, weights = embedding
    sound = triangles.shape == (N_LANDMARKS,) and weights.shape == (N_LANDMARKS, 3) and triangles.dtype.kind in "iu"
    if not sound or not np.isfinite(weights).all() or np.abs(weights.sum(axis=1) - 1).max() > 0.01:
        raise FaceModelError(
            f"{printable(file)} has not {N_LANDMARKS} triangles with weights, but {triangles.shape} and "
            f"{weights.shape}; give an embedding of all {N_LANDMARKS} iBUG landmarks"
        )
    if triangles.min() < 0 or triangles.max() >= len(faces):
        raise FaceModelError(f"{printable(file)} has a triangle that is not one of 0..{len(faces) - 1}; get it again")
    return LandmarkPlaces(faces[triangles], weights.astype(np.float64))


def _embedding(file: Path, hashes: dict[str, str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Read triangles and weights of landmarks; None if the file is a list of vertices."""
    content = read_bytes(file, hashes, _MAX_EMBEDDING_BYTES)
    start = content[:64].lstrip()
    table: Any
    if content.startswith(b"\x93NUMPY"):
        stream = BytesIO(content)
        shape, _, dtype = read_npy_header(stream, printable(file))
        if not dtype.hasobject or shape != ():
            raise FaceModelError(f"{printable(file)} holds no dict of landmarks; give a landmark embedding of FLAME")
        table = read_pickle(content[stream.tell() :], str(file))
        table = table.values[0] if isinstance(table, Array) and isinstance(table.values, list) else None
    elif content.startswith(b"PK"):
        table = read_npz(content, str(file), {*sum(_EMBEDDINGS, ()), *_STATIC, *_DYNAMIC})
    elif start.startswith(b"{"):
        try:
            table = json.loads(content)
        except (ValueError, RecursionError):
            table = None
    elif content.startswith(b"\x80") or start.startswith((b"(dp", b"(d")):
        table = read_pickle(content, str(file))
    else:
        return None
    if not isinstance(table, dict):
        raise FaceModelError(f"{printable(file)} holds no dict of landmarks; give a landmark embedding of FLAME")
    return _select(table, file)


def _select(table: dict[str, Any], file: Path) -> tuple[np.ndarray, np.ndarray]:
    def get(key: str) -> np.ndarray:
        value = table.get(key)
        if isinstance(value, Array):
            value = value.values
        try:
            array = np.asarray([] if isinstance(value, Inert) or value is None else value)
        except (ValueError, TypeError):
            array = np.zeros(0)
        return array if array.dtype.kind in "iuf" else np.zeros(0)

    for faces_key, weights_key in _EMBEDDINGS:
        if faces_key in table and weights_key in table:
            return get(faces_key).reshape(-1), _rows(get(weights_key))
    if all(key in table for key in (*_STATIC, *_DYNAMIC)):
        # The outline is given for turns of the head in degrees; the first row is the frontal one.
        outline = get(_DYNAMIC[0])[:1].reshape(-1), _rows(get(_DYNAMIC[1])[:1])
        inner = get(_STATIC[0]).reshape(-1), _rows(get(_STATIC[1]))
        return np.concatenate([outline[0], inner[0]]), np.concatenate([outline[1], inner[1]])
    raise FaceModelError(f"{printable(file)} has none of the keys of a landmark embedding, such as {_EMBEDDINGS[0]}")


def _rows(weights: np.ndarray) -> np.ndarray:
    return weights.reshape(-1, 3) if weights.size % 3 == 0 else np.zeros((0, 3))
