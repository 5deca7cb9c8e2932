"""The linear 3D morphable model: vertices and colours from coefficients, stored in one file.

    vertices = mean + sum_k alpha_k shape_basis_k        alpha = identity, then expression (the paper's R^144)
    albedo   = mean_albedo + sum_k gamma_k albedo_basis_k

Coefficients are in standard deviations: the bases carry their sigma (section 3.1 of the paper).
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from focus_ray.errors import FaceModelError
from focus_ray.face_models.landmarks import N_LANDMARKS
from focus_ray.numerics.batch_invariant import batch_invariant
from focus_ray.numerics.float32 import full_precision_matmul

PARTS = ("eyes", "brows", "nose", "mouth", "cheeks", "jaw", "forehead")
"""The part masks that every model has."""

_FLOATS = ("mean", "shape_basis", "mean_albedo", "albedo_basis", "landmark_barycentric", "uv")
_INTEGERS = ("faces", "landmark_triangles")
_METADATA_KEY = "focus_ray_face_model"
_PART_PREFIX = "part."
_FORMAT = 1


class MorphableModel(nn.Module):
    """A face as a mean and three linear bases on one triangle mesh, with 68 landmarks on the surface.

    Model space is in mm: x to the subject's left (image right), y up, z out of the face; triangles wind so that
    (v1 - v0) x (v2 - v0) points out of the face. Albedo is RGB in [0, 1]. uv is in [0, 1], v upwards.
    The arrays are buffers that `.to(device, dtype)` moves and that are not part of a state dict.
    """

    mean: Tensor
    shape_basis: Tensor
    mean_albedo: Tensor
    albedo_basis: Tensor
    faces: Tensor
    landmark_triangles: Tensor
    landmark_barycentric: Tensor
    uv: Tensor

    def __init__(
        self,
        *,
        name: str,
        n_identity: int,
        mean: Tensor,
        shape_basis: Tensor,
        mean_albedo: Tensor,
        albedo_basis: Tensor,
        faces: Tensor,
        landmark_triangles: Tensor,
        landmark_barycentric: Tensor,
        uv: Tensor,
        parts: Mapping[str, Tensor],
    ) -> None:
        """Check the arrays and register them as buffers.

        Args:
            name: name of the model, stored in its file.
            n_identity: number of leading rows of shape_basis that are identity; the others are expression.
            mean: [V, 3] vertices, mm.
            shape_basis: [S + E, V, 3] mm per sigma, identity first.
            mean_albedo: [V, 3] RGB in [0, 1].
            albedo_basis: [A, V, 3] RGB per sigma.
            faces: [F, 3] int64, vertex indices.
            landmark_triangles: [68] int64, rows of faces.
            landmark_barycentric: [68, 3] weights of the corners of those triangles.
            uv: [V, 2] texture coordinates.
            parts: part name to [V] bool; has every name of PARTS.

        Raises:
            FaceModelError: shapes, types, values or indices do not fit together.
        """
        super().__init__()
        arrays = {
            "mean": mean,
            "shape_basis": shape_basis,
            "mean_albedo": mean_albedo,
            "albedo_basis": albedo_basis,
            "faces": faces,
            "landmark_triangles": landmark_triangles,
            "landmark_barycentric": landmark_barycentric,
            "uv": uv,
        }
        _check(arrays, parts, n_identity)
        for key, array in arrays.items():
            self.register_buffer(key, array.contiguous(), persistent=False)
        self.name = name
        self.n_identity = n_identity
        self.n_expression = len(shape_basis) - n_identity
        self.n_albedo = len(albedo_basis)
        # Sorted by name: a file's tensors differ in order between processes; saved statistics have a column per part.
        self.parts: dict[str, Tensor] = dict(sorted(parts.items()))

    @property
    def n_vertices(self) -> int:
        return len(self.mean)

    def vertices(self, alpha: Float[Tensor, "B K"]) -> Float[Tensor, "B V 3"]:
        """Compute the vertices of shape coefficients.

        Args:
            alpha: identity, then expression coefficients, in sigmas.

        Returns:
            Vertices in model space, mm.
        """
        offsets = batch_invariant(lambda rows: full_precision_matmul(rows, self.shape_basis.flatten(1)), alpha)
        return self.mean + offsets.view(-1, *self.mean.shape)

    def albedo(self, gamma: Float[Tensor, "B A"]) -> Float[Tensor, "B V 3"]:
        """Compute the vertex colours of albedo coefficients.

        Args:
            gamma: albedo coefficients, in sigmas.

        Returns:
            RGB, not clamped to [0, 1].
        """
        offsets = batch_invariant(lambda rows: full_precision_matmul(rows, self.albedo_basis.flatten(1)), gamma)
        return self.mean_albedo + offsets.view(-1, *self.mean_albedo.shape)

    def landmarks(self, vertices: Float[Tensor, "B V D"]) -> Float[Tensor, "B 68 D"]:
        """Interpolate the 68 landmarks on vertices.

        Args:
            vertices: vertices of the model in any space and unit.

        Returns:
            Landmarks in iBUG order, in the space and unit of the vertices.
        """
        corners = vertices[:, self.faces[self.landmark_triangles]]
        return (self.landmark_barycentric[..., None] * corners).sum(dim=2)

    def truncate(self, n_identity: int, n_expression: int, n_albedo: int) -> "MorphableModel":
        """Return the model with only the leading modes of each basis.

        Raises:
            FaceModelError: a number is negative or larger than the model's.
        """
        requested = (n_identity, n_expression, n_albedo)
        available = (self.n_identity, self.n_expression, self.n_albedo)
        if any(few < 0 or few > many for few, many in zip(requested, available, strict=True)):
            raise FaceModelError(
                f"face model {self.name!r} has {available} modes, not {requested}; request fewer modes"
            )
        expression = self.shape_basis[self.n_identity :][:n_expression]
        return MorphableModel(
            name=self.name,
            n_identity=n_identity,
            mean=self.mean,
            shape_basis=torch.cat([self.shape_basis[:n_identity], expression]),
            mean_albedo=self.mean_albedo,
            albedo_basis=self.albedo_basis[:n_albedo].clone(),
            faces=self.faces,
            landmark_triangles=self.landmark_triangles,
            landmark_barycentric=self.landmark_barycentric,
            uv=self.uv,
            parts=self.parts,
        )

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of topology, means, bases and landmarks: the same on every machine for the same arrays.

        Arrays are hashed as little-endian float32 / int64. Name, uv and parts are left out: they do not affect a fit.
        """
        hasher = hashlib.sha256(f"{self.n_identity},{self.n_expression},{self.n_albedo}".encode())
        for key in (*_INTEGERS, "mean", "shape_basis", "mean_albedo", "albedo_basis", "landmark_barycentric"):
            array: np.ndarray = getattr(self, key).detach().cpu().numpy()
            canonical = np.ascontiguousarray(array, dtype="<i8" if key in _INTEGERS else "<f4")
            hasher.update(f"{key}{canonical.shape}".encode())
            hasher.update(canonical.data)
        return hasher.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the result of `to_bytes` to a file.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Encode the model as one safetensors file with its name and sizes as JSON metadata."""
        tensors = {key: getattr(self, key).detach().cpu() for key in (*_FLOATS, *_INTEGERS)}
        tensors |= {_PART_PREFIX + part: mask.cpu() for part, mask in self.parts.items()}
        metadata = {"format": _FORMAT, "name": self.name, "n_identity": self.n_identity, "digest": self.digest}
        return to_safetensors(tensors, metadata={_METADATA_KEY: json.dumps(metadata)})

    @staticmethod
    def load(path: str | Path) -> "MorphableModel":
        """Read a file written by `save`.

        Raises:
            FaceModelError: the file cannot be read, is damaged or malformed.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
                tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise FaceModelError(f"cannot read face model {str(path)!r}: {error}; write it again") from error
        name, n_identity = _parse_metadata(metadata, path)
        parts = {k.removeprefix(_PART_PREFIX): tensors.pop(k) for k in list(tensors) if k.startswith(_PART_PREFIX)}
        if set(tensors) != {*_FLOATS, *_INTEGERS}:
            raise FaceModelError(
                f"face model {str(path)!r} has missing or additional arrays: {sorted(tensors)}; write it again"
            )
        return MorphableModel(name=name, n_identity=n_identity, parts=parts, **tensors)


def _parse_metadata(metadata: object, path: str | Path) -> tuple[str, int]:
    if isinstance(metadata, dict) and metadata.get("format") == _FORMAT:
        name, n_identity = metadata.get("name"), metadata.get("n_identity")
        if isinstance(name, str) and isinstance(n_identity, int):
            return name, n_identity
    raise FaceModelError(f"{str(path)!r} is not a face model of format {_FORMAT}; write it with MorphableModel.save")


def _check(arrays: Mapping[str, Tensor], parts: Mapping[str, Tensor], n_identity: int) -> None:
    _check_types(arrays)
    _check_shapes(arrays, parts, n_identity)
    n_vertices, n_faces = len(arrays["mean"]), len(arrays["faces"])
    for key, limit in (("faces", n_vertices), ("landmark_triangles", n_faces)):
        if arrays[key].min() < 0 or arrays[key].max() >= limit:
            raise FaceModelError(f"face model: {key} has indices outside 0..{limit - 1}; repair the mesh")


def _check_types(arrays: Mapping[str, Tensor]) -> None:
    for key in _FLOATS:
        if not arrays[key].is_floating_point() or not bool(arrays[key].isfinite().all()):
            raise FaceModelError(f"face model: {key} must have finite floating-point numbers; repair the array")
    for key in _INTEGERS:
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
