"""The parametric face: a plausible morphable human face made by code alone.

A graded triangle mesh follows the lines of lids, lips, brows and nose on a smooth head (surface, relief, mesh,
template). Named displacement fields describe how people differ (identity) and how faces move (expression); named
parameters set the colours (albedo). Principal components over these and smooth noise are its modes (modes, recipe).
"""

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric.cache import load_or_build
from focus_ray.face_models.parametric.recipe import ParametricFaceSettings, Resolution, build_face_model

__all__ = ["ParametricFaceSettings", "Resolution", "parametric_face"]


def parametric_face(
    resolution: Resolution = "small", n_identity: int = 80, n_expression: int = 64, n_albedo: int = 80
) -> MorphableModel:
    """Return the parametric face model, built once per set of parameters and cached (see cache.load_or_build).

    The leading modes do not depend on the number of modes.

    Args:
        resolution: small, full and fine have about 2,500, 7,400 and 29,000 vertices.
        n_identity: number of identity modes.
        n_expression: number of expression modes.
        n_albedo: number of albedo modes.

    Raises:
        FaceModelError: more modes are requested than the recipe has.
    """
    settings = ParametricFaceSettings(
        resolution=resolution, n_identity=n_identity, n_expression=n_expression, n_albedo=n_albedo
    )
    return load_or_build(settings, f"parametric-{resolution}", lambda: build_face_model(settings))
