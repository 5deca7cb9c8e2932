"""Landmark files: 68 rows in iBUG order, each a vertex, or three vertices with their weights.

    1225                                     a vertex, from 0
    1225 0.2  1226 0.5  1310 0.3             vertices and weights, as in GNM's head_sparse_68.txt

Text with one row per line (`#` begins a comment), or JSON: a list of 68 vertices or of 68 rows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from focus_ray.errors import FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import read_text
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.landmarks import N_LANDMARKS


def read_landmarks(path: Path, n_vertices: int, hashes: dict[str, str]) -> LandmarkPlaces:
    """Read a landmark file.

    Args:
        path: text or JSON.
        n_vertices: number of vertices of the mesh.
        hashes: receives the hash of the file.

    Raises:
        FaceModelError: the file cannot be read, has not 68 rows of one form, or a vertex that the mesh lacks.
    """
    text = read_text(path, hashes)
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    try:
        rows: Any = json.loads(text) if text.lstrip().startswith("[") else [line for line in lines if line]
        table = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, RecursionError):
        table = np.zeros((0, 0))
    if table.ndim == 1:
        table = table[:, None]
    if table.shape not in ((N_LANDMARKS, 1), (N_LANDMARKS, 6)) or not np.isfinite(table).all():
        raise FaceModelError(
            f"{printable(path)} has not {N_LANDMARKS} rows of a vertex, or of three vertices with weights; repair it"
        )
    if table.shape[1] == 1:
        one, zero = np.ones((N_LANDMARKS, 1)), np.zeros((N_LANDMARKS, 1))
        table = np.hstack([table, one, table, zero, table, zero])
    vertices, weights = table[:, ::2], table[:, 1::2]
    if (vertices != vertices.round()).any() or vertices.min() < 0 or vertices.max() >= n_vertices:
        raise FaceModelError(f"{printable(path)} has a vertex that is not one of 0..{n_vertices - 1}; repair it")
    if np.abs(weights.sum(axis=1) - 1).max() > 0.01:
        raise FaceModelError(f"{printable(path)} has weights that do not sum to 1; repair it")
    return LandmarkPlaces(vertices.astype(np.int64), weights / weights.sum(axis=1, keepdims=True))
