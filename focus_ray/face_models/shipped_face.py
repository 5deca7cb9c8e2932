"""Faces of models that are stored without a copy of their arrays, since the package ships the same face model."""

import torch

from focus_ray.errors import CheckpointError, ModelError
from focus_ray.face_models import by_name
from focus_ray.face_models.morphable_model import MorphableModel


def shipped_name(face: MorphableModel) -> str | None:
    """Return the name under which the package ships exactly this face model; None if it does not.

    Args:
        face: any face model; all its arrays and its description are compared.

    Raises:
        FaceModelError: the package's file is damaged.
    """
    path = by_name.SHIPPED_FACES.get(face.name)
    if path is None or not path.is_file():
        return None
    shipped = by_name.load_face(face.name)
    if shipped.description() != face.description():
        return None
    ours, theirs = face.tensors(), shipped.tensors()
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    return face.name if same else None


def load_shipped(name: str, digest: str) -> MorphableModel:
    """Load the shipped face model that a stored model refers to.

    Args:
        name: name in `by_name.SHIPPED_FACES`.
        digest: digest that the face model must have.

    Raises:
        CheckpointError: the package ships no face model of this name, or one with another digest.
        ModelError: this copy of the package was made without its face models.
        FaceModelError: the package's file is damaged.
    """
    if name not in by_name.SHIPPED_FACES:
        names = ", ".join(by_name.SHIPPED_FACES)
        raise CheckpointError(
            f"the model needs the face model {name[:80]!r} of focus-ray, this version has {names}; use the version "
            "that wrote it"
        )
    if not by_name.SHIPPED_FACES[name].is_file():
        raise ModelError(
            f"the model needs the face model {name!r}, which this copy of focus-ray lacks (jobs are sent without it); "
            "use a model folder that has its own face.safetensors, such as that of a run"
        )
    face = by_name.load_face(name)
    if face.digest != digest:
        raise CheckpointError(
            f"the model needs the face model {name!r} with digest {digest[:12]}, this version of focus-ray has "
            f"{face.digest[:12]}; use the version that wrote it"
        )
    return face
