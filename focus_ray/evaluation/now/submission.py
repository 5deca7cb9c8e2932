"""Predictions in the layout of the NoW challenge: subject/challenge/name.obj or .ply, with seven landmarks beside it.

    subject/challenge/name.obj | name.ply     the neutral face, one surface
    subject/challenge/name.npy | name.txt     7 x 3, in the units and the frame of the mesh

If both files exist, the first is read, as in the public evaluation.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from focus_ray.errors import DataError, LandmarkError, printable
from focus_ray.geometry.mesh_reader import MESH_KINDS, TriangleMesh, read_limited_bytes, read_mesh

LANDMARK_KINDS = (".npy", ".txt")

Unit = Literal["mm", "cm", "m"]
_MM_PER_UNIT: dict[Unit, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0}

_SHAPE = (7, 3)
_MEGABYTES = 1.0
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# Errors that NumPy's header parser raises for damaged .npy files.
_DAMAGE = (ValueError, KeyError, TypeError, SyntaxError, OverflowError, EOFError, MemoryError, RecursionError)


class SubmittedFace(NamedTuple):
    """Predicted face: a mesh and its seven landmarks, in mm."""

    mesh: TriangleMesh
    landmarks: Float[np.ndarray, "7 3"]


class Submission:
    """Folder of predictions; files are read on demand."""

    def __init__(self, folder: str | Path, unit: Unit = "mm") -> None:
        """Open a folder of predictions.

        Args:
            folder: folder of the submission.
            unit: unit of the meshes and landmarks.

        Raises:
            DataError: there is no such folder.
        """
        self.folder = Path(folder)
        self.unit: Unit = unit
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; give the folder with the predictions")

    def mesh_files(self, name: str) -> list[Path]:
        """Return the mesh files of a picture (subject/challenge/name); the first is read."""
        return self._existing_files(name, MESH_KINDS)

    def landmark_files(self, name: str) -> list[Path]:
        """Return the landmark files of a picture; the first is read."""
        return self._existing_files(name, LANDMARK_KINDS)

    def read(self, name: str) -> SubmittedFace:
        """Read the prediction for a picture, in mm.

        Raises:
            DataError: the mesh is missing, damaged or without triangles.
            LandmarkError: the landmarks are missing or damaged.
        """
        meshes, landmarks = self.mesh_files(name), self.landmark_files(name)
        if not meshes:
            raise DataError(f"{self.folder / name}: there is no mesh; add {name}.obj or {name}.ply")
        if not landmarks:
            raise LandmarkError(f"{self.folder / name}: there are no landmarks; add {name}.npy with 7 x 3 numbers")
        mesh, points = read_mesh(meshes[0]), read_now_landmarks(landmarks[0])
        if not len(mesh.faces):
            raise DataError(f"{meshes[0]}: the mesh has no triangles; write the mesh with its triangles")
        scale = _MM_PER_UNIT[self.unit]
        return SubmittedFace(TriangleMesh(scale * mesh.vertices, mesh.faces), scale * points)

    def _existing_files(self, name: str, kinds: Sequence[str]) -> list[Path]:
        return [path for path in (self.folder / f"{name}{kind}" for kind in kinds) if path.is_file()]


def read_now_landmarks(path: Path) -> Float[np.ndarray, "7 3"]:
    """Read landmarks from a .npy or .txt file, without unpickling.

    Args:
        path: file of 7 x 3 numbers, in text three on a line.

    Returns:
        Landmarks in the file's unit.

    Raises:
        LandmarkError: the file is missing, damaged, too large, of another shape or not finite.
    """
    try:
        content = read_limited_bytes(path, _MEGABYTES)
        points = _parse_npy(content) if path.suffix == ".npy" else _parse_text(content)
    except DataError as error:
        raise LandmarkError(str(error)) from None
    except _DAMAGE as error:
        reason = printable(" ".join(str(error).split())[:120])
        raise LandmarkError(f"{path}: the landmarks cannot be read ({reason}); write 7 x 3 numbers") from None
    if points.shape != _SHAPE:
        raise LandmarkError(
            f"{path}: the landmarks have shape {points.shape} instead of {_SHAPE}; write the seven NoW landmarks"
        )
    if not np.isfinite(points).all():
        raise LandmarkError(f"{path}: the landmarks are not finite; write 7 x 3 numbers")
    return points


def _parse_npy(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    shape, fortran, dtype = _NPY_HEADERS[np.lib.format.read_magic(stream)](stream)
    if dtype.kind not in "fiu":
        raise ValueError(f"values of type {dtype}")
    count = int(np.prod(shape, dtype=object))
    body = content[stream.tell() :]
    if len(body) != count * dtype.itemsize:
        raise ValueError("length differs from the header")
    return np.frombuffer(body, dtype, count).reshape(shape, order="F" if fortran else "C").astype(np.float64)


def _parse_text(content: bytes) -> np.ndarray:
    rows = [
        [float(field) for field in line.split()] for line in content.decode("utf-8-sig").splitlines() if line.strip()
    ]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("lines of different length" if rows else "no numbers")
    return np.array(rows, dtype=np.float64)
