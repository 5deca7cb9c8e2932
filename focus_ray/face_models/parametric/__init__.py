"""The parametric face: a convincing morphable human face made by code alone.

A graded triangle mesh follows the lines of lids, lips, brows and nose on a smooth head (surface, relief, mesh,
template); named displacement fields say how people differ (identity) and what their faces do (expression); named
parameters paint it (albedo). Principal components over these and smooth noise are its modes (modes, recipe).
"""

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric.cache import load_or_build
from focus_ray.face_models.parametric.recipe import ParametricFaceSettings, Resolution, build_face_model

__all__ = ["ParametricFaceSettings", "Resolution", "parametric_face"]


def parametric_face(
    resolution: Resolution = "small", n_identity: int = 80, n_expression: int = 64, n_albedo: int = 80
) -> MorphableModel:
    """The embedded face model, built once per set of parameters and cached (see cache.cached).

    small, full and fine have about 2,500, 7,400 and 29,000 vertices. The leading modes do not depend on how many are
    asked for. Raises FaceModelError when more modes are asked for than the recipe has.
    """
    settings = ParametricFaceSettings(
        resolution=resolution, n_identity=n_identity, n_expression=n_expression, n_albedo=n_albedo
    )
    return load_or_build(settings, f"parametric-{resolution}", lambda: build_face_model(settings))
