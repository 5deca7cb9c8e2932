"""What an importer reads from the files of a face model, and the morphable model made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from focus_ray.face_models.importers.carry_over import place_on_parametric_face
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.face_models.parametric.albedo import Complexion, paint
from focus_ray.face_models.parametric.annotations import part_masks
from focus_ray.face_models.parametric.modes import principal_modes
from focus_ray.face_models.parametric.recipe import albedo_fields
from focus_ray.face_models.provenance import Provenance

Modes = tuple[int, int, int]
"""Numbers of identity, expression and albedo modes."""

_PADDED = "{name}: {own} modes, padded with zeros to {wanted}."
_DROPPED = "{name}: the leading {wanted} of {own} modes."


@dataclass(frozen=True, eq=False)
class Albedo:
    """The colours of a face model.

    Attributes:
        mean: RGB in [0, 1].
        basis: RGB per sigma.
    """

    mean: Float[np.ndarray, "V 3"]
    basis: Float[np.ndarray, "A V 3"]


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A face model as its files give it, in mm: x to the subject's left, y up, z out of the face.

    Attributes:
        name: for messages and reports.
        mean: vertices of the mean face with the mean expression.
        faces: triangles, counter-clockwise as seen from outside.
        identity: identity modes, mm per sigma, by falling variance.
        expression: expression modes, mm per sigma, by falling variance.
        landmark_triangles: triangle of each of the 68 iBUG landmarks.
        landmark_barycentric: weights of the corners of those triangles.
        provenance: origin and terms; its notes are extended by what `assemble` adds.
        albedo: colours; None: those of the parametric face are carried over.
        uv: texture coordinates in [0, 1], v upwards; None: a cylindrical projection of the mean.
        eyeballs: the vertices of the subject's right and left eyeball, if they are separate surfaces; used to place
            the irises where the colours are carried over.
        mouth_inside: vertices of teeth, gums and the rest of the inside of the mouth, by the name of the row of the
            parametric face (parametric.mouth.POCKET) whose colours they get.
        nostrils: vertices inside the nostrils; None: the mesh has none, they are painted.
        expressions: named expressions, over the modes of `expression`.
    """

    name: str
    mean: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    identity: Float[np.ndarray, "S V 3"]
    expression: Float[np.ndarray, "E V 3"]
    landmark_triangles: Int[np.ndarray, "68"]
    landmark_barycentric: Float[np.ndarray, "68 3"]
    provenance: Provenance
    albedo: Albedo | None = None
    uv: Float[np.ndarray, "V 2"] | None = None
    eyeballs: tuple[Bool[np.ndarray, " V"], Bool[np.ndarray, " V"]] | None = None
    mouth_inside: Mapping[str, Bool[np.ndarray, " V"]] = field(default_factory=dict)
    nostrils: Bool[np.ndarray, " V"] | None = None
    expressions: NamedExpressions | None = None

    @property
    def landmarks(self) -> Float[np.ndarray, "68 3"]:
        """The landmarks of the mean, mm."""
        corners = self.mean[self.faces[self.landmark_triangles]]
        return np.einsum("lk,lkd->ld", self.landmark_barycentric, corners)


def assemble(source: SourceModel, modes: Modes) -> MorphableModel:
    """Make the morphable model of a source: paint it if it has no colours, name its parts, fit the numbers of modes.

    Args:
        source: what an importer read.
        modes: numbers of modes of the result; missing ones are zeros, further ones are left out.

    Raises:
        FaceModelError: arrays do not fit together.
    """
    placed = place_on_parametric_face(
        source.mean, source.landmarks, source.eyeballs, source.mouth_inside, source.nostrils
    )
    albedo = source.albedo
    if albedo is None:
        painted = np.clip(paint(placed, Complexion()), 0, 1)
        albedo = Albedo(painted, principal_modes(albedo_fields(placed), modes[2], "albedo"))
    bases = (source.identity, source.expression, albedo.basis)
    notes = list(source.provenance.notes)
    if source.albedo is None:
        notes.append("Albedo: that of the parametric face, carried over by the landmarks.")
    for name, basis, wanted in zip(("Identity", "Expression", "Albedo"), bases, modes, strict=True):
        template = _PADDED if len(basis) < wanted else _DROPPED if len(basis) > wanted else None
        if template is not None:
            notes.append(template.format(name=name, own=len(basis), wanted=wanted))
    identity, expression, colours = (_resize(basis, wanted) for basis, wanted in zip(bases, modes, strict=True))
    return MorphableModel(
        name=source.name,
        n_identity=modes[0],
        mean=_tensor(source.mean),
        shape_basis=_tensor(np.concatenate([identity, expression])),
        mean_albedo=_tensor(albedo.mean),
        albedo_basis=_tensor(colours),
        faces=torch.from_numpy(np.ascontiguousarray(source.faces, np.int64)),
        landmark_triangles=torch.from_numpy(np.ascontiguousarray(source.landmark_triangles, np.int64)),
        landmark_barycentric=_tensor(source.landmark_barycentric),
        uv=_tensor(cylindrical_uv(source.mean) if source.uv is None else source.uv),
        parts={name: torch.from_numpy(mask) for name, mask in part_masks(placed).items()},
        expressions=None if source.expressions is None else _resize_named(source.expressions, modes[1]),
        provenance=source.provenance.model_copy(update={"notes": tuple(notes)}),
    )


def cylindrical_uv(vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 2"]:
    """Project vertices onto a cylinder around the head: u by the angle, v by the height.

    Args:
        vertices: in mm, z out of the face.

    Returns:
        Texture coordinates in [0, 1].
    """
    depth = vertices[:, 2] - np.median(vertices[:, 2]) + np.ptp(vertices[:, 0]) / 2  # axis inside of the head
    plane = np.column_stack([np.arctan2(vertices[:, 0], np.maximum(depth, 1.0)), vertices[:, 1]])
    low, high = plane.min(axis=0), plane.max(axis=0)
    return (plane - low) / np.maximum(high - low, 1e-9)


def _resize(basis: np.ndarray, wanted: int) -> np.ndarray:
    missing = max(0, wanted - len(basis))
    return np.pad(basis[:wanted], [(0, missing), (0, 0), (0, 0)])


def _resize_named(expressions: NamedExpressions, wanted: int) -> NamedExpressions:
    own = expressions.coefficients[:, :wanted]
    return NamedExpressions(expressions.names, torch.nn.functional.pad(own, (0, wanted - own.shape[1])))


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
