"""Writes predicted faces in the submission format of the NoW challenge."""

import io
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import trimesh
from jaxtyping import Float, Int
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply

from focus_ray.data.sources.now import NOW_LANDMARK_INDICES
from focus_ray.errors import DataError
from focus_ray.storage import atomic

MeshKind = Literal["ply", "obj"]

_NAME_PARTS = 3  # subject/challenge/name
_PICTURE_KINDS = (".jpg", ".jpeg", ".png")


def select_now_landmarks(landmarks: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "7 3"]:
    """Select NoW's landmarks.

    Args:
        landmarks: the 68 iBUG points on a mesh (MorphableModel.landmarks).

    Returns:
        NoW's seven points, in the challenge's order and the same unit.
    """
    return landmarks[list(NOW_LANDMARK_INDICES)]


def write_prediction(
    folder: str | Path,
    name: str,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    landmarks: Float[np.ndarray, "7 3"],
    kind: MeshKind = "ply",
) -> Path:
    """Write the neutral face of a picture, without colours: some readers take an OBJ's colours for coordinates.

    Args:
        folder: folder of the submission.
        name: subject/challenge/name of the picture, with or without suffix.
        vertices: vertices of the neutral face, mm.
        faces: triangles.
        landmarks: seven points in the frame of the mesh, mm; written as float64, not rounded.
        kind: format of the mesh.

    Returns:
        Path of the mesh.

    Raises:
        DataError: the name is of another form, a value is not finite, or the triangles do not fit the vertices.
        StorageError: the disk refuses.
    """
    target = Path(folder) / _parse_name(name)
    if not (np.isfinite(vertices).all() and np.isfinite(landmarks).all()):
        raise DataError(f"{name}: the face is not finite and was not written; look at its reconstruction")
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(f"{name}: the triangles do not fit the vertices; give those of the same face model")
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    content = (
        export_ply(mesh, vertex_normal=False)
        if kind == "ply"
        else export_obj(mesh, include_normals=False, include_color=False)
    )
    stream = io.BytesIO()
    np.save(stream, np.asarray(landmarks, dtype=np.float64), allow_pickle=False)
    path = target.with_name(f"{target.name}.{kind}")
    atomic.write_file(path, content)
    atomic.write_file(target.with_name(f"{target.name}.npy"), stream.getvalue())
    return path


def _parse_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if len(path.parts) != _NAME_PARTS or path.is_absolute() or ".." in path.parts:
        raise DataError(f"{name!r} is no subject/challenge/name; name the prediction as its picture in the list")
    return path.with_suffix("") if path.suffix.lower() in _PICTURE_KINDS else path
