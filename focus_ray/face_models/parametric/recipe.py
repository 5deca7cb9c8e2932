"""Settings of the parametric face, and the morphable model built from them."""

from typing import Literal

import numpy as np
import torch

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric.albedo import Complexion, complexion_fields, noise_directions, paint
from focus_ray.face_models.parametric.annotations import landmark_barycentrics, part_masks
from focus_ray.face_models.parametric.expression import EXPRESSIONS
from focus_ray.face_models.parametric.fields import Gaze, evaluate_fields, propagate_expression, propagate_identity
from focus_ray.face_models.parametric.identity import IDENTITY
from focus_ray.face_models.parametric.modes import (
    Noise,
    displacement_noise,
    noise_columns,
    principal_modes,
    remove_rigid_motion,
)
from focus_ray.face_models.parametric.surface import Array
from focus_ray.face_models.parametric.template import SKIN, Template, build_template
from focus_ray.settings import Settings

RECIPE = 6
"""Version of the recipe: raise it with every change of the mean, the modes, the paint or the landmarks."""

Resolution = Literal["small", "full", "fine"]
SPACING: dict[Resolution, float] = {"small": 1.82, "full": 0.97, "fine": 0.48}
"""Distance between vertices, relative to mesh.half_skin's: about 2.5k, 7.4k and 29k vertices."""

_IDENTITY_NOISE = (Noise(60.0, 1.4), Noise(28.0, 0.75), Noise(18.0, 0.25))
_EXPRESSION_NOISE = (Noise(30.0, 0.45, 0.85), Noise(16.0, 0.25, 0.85))
_ALBEDO_NOISE = (Noise(48.0, 0.022, 0.9), Noise(17.0, 0.012, 0.9))
_LENGTH_STEP, _COLOUR_STEP, _WEIGHT_STEP = 2.0**-12, 2.0**-18, 2.0**-20  # mm, RGB, share
_RED_SHARE = 0.35  # of the brown noise's amplitude


class ParametricFaceSettings(Settings):
    """Settings that identify one parametric face."""

    resolution: Resolution = "small"
    n_identity: int = 80
    n_expression: int = 64
    n_albedo: int = 80
    recipe: int = RECIPE


def build_face_model(settings: ParametricFaceSettings) -> MorphableModel:
    """Build the model: a few seconds at the small resolution.

    Raises:
        FaceModelError: more modes are requested than the recipe has.
    """
    face = build_template(SPACING[settings.resolution])
    shape = [
        principal_modes(_identity_fields(face), settings.n_identity, "identity"),
        principal_modes(_expression_fields(face), settings.n_expression, "expression"),
    ]
    albedo = principal_modes(albedo_fields(face), settings.n_albedo, "albedo")
    triangles, barycentric = landmark_barycentrics(face)
    return MorphableModel(
        name=f"parametric-{settings.resolution}",
        n_identity=settings.n_identity,
        mean=_tensor(face.vertices, _LENGTH_STEP),
        shape_basis=_tensor(np.concatenate(shape), _LENGTH_STEP),
        mean_albedo=_tensor(np.clip(paint(face, Complexion()), 0, 1), _COLOUR_STEP),
        albedo_basis=_tensor(albedo, _COLOUR_STEP),
        faces=torch.from_numpy(face.faces),
        landmark_triangles=torch.from_numpy(triangles),
        landmark_barycentric=_tensor(barycentric, _WEIGHT_STEP),
        uv=_tensor(face.uv, _WEIGHT_STEP),
        parts={name: torch.from_numpy(mask) for name, mask in part_masks(face).items()},
    )


def _tensor(array: Array, step: float) -> torch.Tensor:
    """Convert an array to float32, rounded to multiples of `step`.

    The last bits of a product or an eigenvector differ between machines and numbers of threads. A step well above
    them makes the model, and so its digest, almost surely the same everywhere.
    """
    return torch.from_numpy(np.ascontiguousarray(np.round(array / step) * step, dtype=np.float32))


def _identity_fields(face: Template) -> list[Array]:
    named = [evaluate_fields(parameter, face) for parameter in IDENTITY.values()]
    noise = displacement_noise(_IDENTITY_NOISE, face, np.ones(len(face.vertices)))
    followed = [propagate_identity(face, field) for field in (*named, *noise)]
    return remove_rigid_motion(followed, face.vertices)


def _expression_fields(face: Template) -> list[Array]:
    fields = []
    for expression in EXPRESSIONS.values():
        gaze = evaluate_fields(tuple(f for f in expression.fields if isinstance(f, Gaze)), face)
        field = propagate_expression(face, evaluate_fields(expression.fields, face), gaze)
        fields.append(expression.sigma * field)
    y = face.vertices[:, 1]
    window = np.exp(-((face.side / 42) ** 2) - ((y + 38) / 30) ** 2)
    window += 0.6 * np.exp(-(((face.side - 31) / 22) ** 2) - ((y - 36) / 18) ** 2)
    still = np.zeros_like(face.vertices)
    noise = displacement_noise(_EXPRESSION_NOISE, face, window)
    return fields + [propagate_expression(face, field, still) for field in noise]


def albedo_fields(face: Template) -> list[Array]:
    """Compute the changes [V, 3] (RGB) by one standard deviation of each parameter and each term of the noise."""
    fields = complexion_fields(face)
    skin = (face.kind == SKIN).astype(np.float64)[:, None]
    for noise in _ALBEDO_NOISE:
        terms = skin * np.concatenate(noise_columns(noise, face), axis=1)
        for direction, share in zip(noise_directions(), (1.0, _RED_SHARE), strict=True):
            fields += list(share * terms.T[:, :, None] * direction)
    return fields
