"""Checks of a face model's arrays: types, shapes, finite values, indices."""

from collections.abc import Mapping

import torch
from torch import Tensor

from focus_ray.errors import FaceModelError
from focus_ray.face_models.landmarks import N_LANDMARKS

PARTS = ("eyes", "brows", "nose", "mouth", "cheeks", "jaw", "forehead")
"""The part masks that every model has."""

FLOATS = ("mean", "shape_basis", "mean_albedo", "albedo_basis", "landmark_barycentric", "uv")
INTEGERS = ("faces", "landmark_triangles")


def check_arrays(arrays: Mapping[str, Tensor], parts: Mapping[str, Tensor], n_identity: int) -> None:
    """Check that the arrays of a face model fit together.

    Args:
        arrays: the arrays by name, see MorphableModel.
        parts: mask of the vertices of each part.
        n_identity: number of identity modes.

    Raises:
        FaceModelError: shapes, types, values or indices do not fit together.
    """
    _check_types(arrays)
    _check_shapes(arrays, parts, n_identity)
    n_vertices, n_faces = len(arrays["mean"]), len(arrays["faces"])
    for key, limit in (("faces", n_vertices), ("landmark_triangles", n_faces)):
        if arrays[key].min() < 0 or arrays[key].max() >= limit:
            raise FaceModelError(f"face model: {key} has indices outside 0..{limit - 1}; repair the mesh")


def _check_types(arrays: Mapping[str, Tensor]) -> None:
    for key in FLOATS:
        if not arrays[key].is_floating_point() or not bool(arrays[key].isfinite().all()):
            raise FaceModelError(f"face model: {key} must have finite floating-point numbers; repair the array")
    for key in INTEGERS:
        if arrays[key].dtype != torch.int64:
            raise FaceModelError(f"face model: {key} must be int64, not {arrays[key].dtype}; convert it")


def _check_shapes(arrays: Mapping[str, Tensor], parts: Mapping[str, Tensor], n_identity: int) -> None:
    n_vertices, n_faces = len(arrays["mean"]), len(arrays["faces"])
    n_shape, n_albedo = len(arrays["shape_basis"]), len(arrays["albedo_basis"])
    expected = {
        "mean": (n_vertices, 3),
        "shape_basis": (n_shape, n_vertices, 3),
        "mean_albedo": (n_vertices, 3),
        "albedo_basis": (n_albedo, n_vertices, 3),
        "faces": (n_faces, 3),
        "landmark_triangles": (N_LANDMARKS,),
        "landmark_barycentric": (N_LANDMARKS, 3),
        "uv": (n_vertices, 2),
    }
    for key, shape in expected.items():
        if tuple(arrays[key].shape) != shape:
            raise FaceModelError(f"face model: {key} has shape {tuple(arrays[key].shape)}, not {shape}; repair it")
    if n_vertices == 0 or n_faces == 0 or not 0 <= n_identity <= n_shape:
        raise FaceModelError(
            f"face model: invalid sizes: {n_vertices} vertices, {n_faces} faces, {n_identity} of {n_shape} shape "
            "modes are identity; repair it"
        )
    for part in PARTS:
        if part not in parts or parts[part].dtype != torch.bool or tuple(parts[part].shape) != (n_vertices,):
            raise FaceModelError(f"face model: part {part!r} must be a bool mask of {n_vertices} vertices; add it")
