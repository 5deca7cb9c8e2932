"""Writes predicted faces in the submission format of the NoW challenge."""

import io
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from focus_ray.data.sources.now import NOW_LANDMARK_INDICES
from focus_ray.errors import DataError
from focus_ray.geometry.mesh_reader import TriangleMesh
from focus_ray.geometry.mesh_writer import GeometryKind, encode_geometry
from focus_ray.storage import atomic

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
    kind: GeometryKind = "ply",
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
        DataError: the name does not have the form subject/challenge/name, a value is not finite, or the triangles do
            not fit the vertices.
        StorageError: the disk refuses.
    """
    target = Path(folder) / _parse_name(name)
    if not (np.isfinite(vertices).all() and np.isfinite(landmarks).all()):
        raise DataError(f"{name}: the face has values that are not finite; check its reconstruction")
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(f"{name}: the triangles do not fit the vertices; give the triangles of the same face model")
    stream = io.BytesIO()
    np.save(stream, np.asarray(landmarks, dtype=np.float64), allow_pickle=False)
    path = target.with_name(f"{target.name}.{kind}")
    atomic.write_file(path, encode_geometry(TriangleMesh(vertices, faces), kind))
    atomic.write_file(target.with_name(f"{target.name}.npy"), stream.getvalue())
    return path


def _parse_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if len(path.parts) != _NAME_PARTS or path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{name!r} does not have the form subject/challenge/name; give the name of the picture in the list"
        )
    return path.with_suffix("") if path.suffix.lower() in _PICTURE_KINDS else path
