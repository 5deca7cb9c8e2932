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
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from focus_ray.errors import FaceModelError
from focus_ray.face_models.array_checks import FLOATS, INTEGERS, PARTS, check_arrays
from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.face_models.provenance import Provenance
from focus_ray.numerics.batch_invariant import batch_invariant
from focus_ray.numerics.float32 import full_precision_matmul

__all__ = ["PARTS", "MorphableModel"]

_METADATA_KEY = "focus_ray_face_model"
_PART_PREFIX = "part."
_NAMED_EXPRESSIONS = "named_expressions"
_BASES = ("shape_basis", "albedo_basis")
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
        expressions: NamedExpressions | None = None,
        provenance: Provenance | None = None,
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
            expressions: expressions with a name; None if the modes have no names.
            provenance: origin and terms of an imported model; None for a model made by the code of this package.

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
        check_arrays(arrays, parts, n_identity)
        if expressions is not None:
            expressions.check(len(shape_basis) - n_identity)
        for key, array in arrays.items():
            self.register_buffer(key, array.contiguous(), persistent=False)
        self.name = name
        self.n_identity = n_identity
        self.n_expression = len(shape_basis) - n_identity
        self.n_albedo = len(albedo_basis)
        # Sorted by name: a file's tensors differ in order between processes; saved statistics have a column per part.
        self.parts: dict[str, Tensor] = dict(sorted(parts.items()))
        self.expressions = expressions
        self.provenance = provenance

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
        return self._replace(
            n_identity,
            torch.cat([self.shape_basis[:n_identity], expression]),
            self.albedo_basis[:n_albedo].clone(),
            None if self.expressions is None else self.expressions.truncate(n_expression),
        )

    def round_to_half(self) -> "MorphableModel":
        """Return the model with both bases rounded to the precision of float16; means and weights are kept.

        Raises:
            FaceModelError: a value is out of the range of float16.
        """
        shape, albedo = (basis.half().to(basis.dtype) for basis in (self.shape_basis, self.albedo_basis))
        return self._replace(self.n_identity, shape, albedo, self.expressions)

    def _replace(
        self, n_identity: int, shape_basis: Tensor, albedo_basis: Tensor, expressions: NamedExpressions | None
    ) -> "MorphableModel":
        return MorphableModel(
            name=self.name,
            n_identity=n_identity,
            mean=self.mean,
            shape_basis=shape_basis,
            mean_albedo=self.mean_albedo,
            albedo_basis=albedo_basis,
            faces=self.faces,
            landmark_triangles=self.landmark_triangles,
            landmark_barycentric=self.landmark_barycentric,
            uv=self.uv,
            parts=self.parts,
            expressions=expressions,
            provenance=self.provenance,
        )

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of topology, means, bases and landmarks: the same on every machine for the same arrays.

        Arrays are hashed as little-endian float32 / int64. Name, uv and parts are left out: they do not affect a fit.
        """
        hasher = hashlib.sha256(f"{self.n_identity},{self.n_expression},{self.n_albedo}".encode())
        for key in (*INTEGERS, "mean", "shape_basis", "mean_albedo", "albedo_basis", "landmark_barycentric"):
            array: np.ndarray = getattr(self, key).detach().cpu().numpy()
            canonical = np.ascontiguousarray(array, dtype="<i8" if key in INTEGERS else "<f4")
            hasher.update(f"{key}{canonical.shape}".encode())
            hasher.update(canonical.data)
        return hasher.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays by name, for a file; names of part masks begin with `part.`."""
        arrays = {name: buffer.detach().cpu() for name, buffer in self.named_buffers()}
        if self.expressions is not None:
            arrays[_NAMED_EXPRESSIONS] = self.expressions.coefficients.detach().cpu()
        return arrays | {_PART_PREFIX + name: mask.cpu() for name, mask in self.parts.items()}

    def description(self) -> dict[str, Any]:
        """Return what belongs to the arrays in a file, as JSON values: name, sizes, digest, names and origin."""
        described: dict[str, Any] = {"name": self.name, "n_identity": self.n_identity, "digest": self.digest}
        if self.expressions is not None:
            described["expressions"] = list(self.expressions.names)
        if self.provenance is not None:
            described["provenance"] = self.provenance.model_dump(mode="json")
        return described

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> "MorphableModel":
        """Build a model from what `tensors` and `description` return.

        Args:
            tensors: arrays by name; of any floating-point type, read as float32.
            description: name, n_identity, and expressions and provenance if there are any.

        Raises:
            FaceModelError: an entry is missing, additional or malformed, or the arrays do not fit together.
        """
        arrays = {key: value.float() if value.dtype == torch.float16 else value for key, value in tensors.items()}
        parts = {k.removeprefix(_PART_PREFIX): arrays.pop(k) for k in list(arrays) if k.startswith(_PART_PREFIX)}
        coefficients = arrays.pop(_NAMED_EXPRESSIONS, None)
        if set(arrays) != {*FLOATS, *INTEGERS}:
            raise FaceModelError(f"face model has missing or additional arrays: {sorted(arrays)}; write it again")
        name, n_identity, names = (description.get(key) for key in ("name", "n_identity", "expressions"))
        named = isinstance(names, list) and all(isinstance(one, str) for one in names)
        if not isinstance(name, str) or not isinstance(n_identity, int) or named != (coefficients is not None):
            raise FaceModelError("face model: name, n_identity or expressions are missing or malformed; write it again")
        try:
            origin = description.get("provenance")
            provenance = None if origin is None else Provenance.model_validate(origin)
        except ValidationError as error:
            raise FaceModelError(
                f"face model: the entry `provenance` is malformed ({error.errors()[0]['msg']}); write it again"
            ) from None
        return MorphableModel(
            name=name,
            n_identity=n_identity,
            parts=parts,
            expressions=None if coefficients is None else NamedExpressions(tuple(names or ()), coefficients),
            provenance=provenance,
            **arrays,
        )

    def save(self, path: str | Path) -> None:
        """Write the result of `to_bytes` to a file.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_bytes(self.to_bytes())

    def to_bytes(self, *, half: bool = False) -> bytes:
        """Encode the model as one safetensors file with its description as JSON metadata.

        Args:
            half: round both bases to float16, which halves the file.

        Raises:
            FaceModelError: a value is out of the range of float16.
        """
        model = self.round_to_half() if half else self
        tensors = {key: value.half() if half and key in _BASES else value for key, value in model.tensors().items()}
        return to_safetensors(tensors, metadata={_METADATA_KEY: json.dumps({"format": _FORMAT, **model.description()})})

    @staticmethod
    def read_description(path: str | Path) -> dict[str, Any]:
        """Read the description in a file written by `save`, with its number of `vertices`, but not its arrays.

        Raises:
            FaceModelError: the file cannot be read, is damaged or is no face model.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
                vertices = file.get_slice("mean").get_shape()[0]
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise FaceModelError(f"cannot read face model {str(path)!r}: {error}; write it again") from error
        if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
            raise FaceModelError(
                f"{str(path)!r} is not a face model of format {_FORMAT}; write it with `focus-ray face import`"
            )
        return {**metadata, "vertices": vertices}

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
        if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
            raise FaceModelError(
                f"{str(path)!r} is not a face model of format {_FORMAT}; write it with `focus-ray face import`"
            )
        try:
            return MorphableModel.from_tensors(tensors, metadata)
        except FaceModelError as error:
            raise FaceModelError(f"{str(path)!r}: {error}") from None
