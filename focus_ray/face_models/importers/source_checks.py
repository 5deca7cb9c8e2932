"""Checks of what an importer read: finite numbers, indices, and a face that looks along z, with y up and in mm."""

import numpy as np

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.source_model import SourceModel
from focus_ray.face_models.landmarks import BROWS, JAW, LEFT_EYE_CORNERS, MOUTH, NOSE_TIP, RIGHT_EYE_CORNERS

MAX_VERTICES = 200_000
"""More than any published face model has."""

_FURTHEST_MM = 1e6
_EYE_CORNERS_MM = (50.0, 140.0)  # between the outer corners of the eyes; people have 80 to 105


def check_faces(faces: np.ndarray, n_vertices: int, name: str) -> None:
    """Check the triangles of a file before they are used.

    Raises:
        FaceModelError: not [F, 3] integers, none, or a vertex that the mesh lacks.
    """
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.dtype.kind not in "iu":
        raise FaceModelError(
            f"{name}: the triangles have shape {faces.shape} and type {faces.dtype}; get the file again"
        )
    if faces.min() < 0 or faces.max() >= n_vertices:
        raise FaceModelError(
            f"{name}: a triangle has a vertex that is not one of 0..{n_vertices - 1}; get the file again"
        )


def check_mean(mean: np.ndarray, name: str) -> None:
    """Check the vertices of a file before they are used.

    Args:
        mean: vertices, mm.
        name: of the file, for messages.

    Raises:
        FaceModelError: a number is not finite, or further away than any face is.
    """
    if not (np.abs(mean) < _FURTHEST_MM).all():  # also if it is not a number
        raise FaceModelError(
            f"{name}: the mean has a number that is not finite or over {_FURTHEST_MM:g} mm; get the file again"
        )


def check_source(source: SourceModel) -> SourceModel:
    """Check a source model and return it.

    Raises:
        FaceModelError: a number is not finite, or by its landmarks the face has other axes or another unit.
    """
    arrays = {"mean": source.mean, "identity": source.identity, "expression": source.expression, "uv": source.uv}
    if source.albedo is not None:
        arrays |= {"mean albedo": source.albedo.mean, "albedo": source.albedo.basis}
    for name, array in arrays.items():
        if array is not None and not np.isfinite(array).all():
            raise FaceModelError(f"{source.name}: {name} has a number that is not finite; get the file again")
    check_faces(source.faces, len(source.mean), source.name)
    points = source.landmarks
    right, left = points[RIGHT_EYE_CORNERS[0]], points[LEFT_EYE_CORNERS[1]]
    upright = points[list(BROWS), 1].mean() > points[list(MOUTH), 1].mean()
    forward = points[NOSE_TIP, 2] > points[list(JAW), 2].mean()
    if not (right[0] < left[0] and upright and forward):
        raise FaceModelError(
            f"{source.name}: by its landmarks the face is not upright, looks not along z or is mirrored; "
            "check the landmarks and the file"
        )
    width = float(np.linalg.norm(right - left))
    if not _EYE_CORNERS_MM[0] < width < _EYE_CORNERS_MM[1]:
        raise FaceModelError(
            f"{source.name}: the outer corners of the eyes are {width:.3g} mm apart; check the landmarks and the file"
        )
    return source
