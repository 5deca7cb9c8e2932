"""Acceptance test: does the prior reduce the target model's vertex error on faces outside the fitted model?"""

from collections.abc import Callable
from typing import get_args

import torch

from focus_ray.data.sample import FaceDataset
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric import Resolution, parametric_face
from focus_ray.focus.metrics import vertex_distance
from focus_ray.focus.parameters import split_theta
from focus_ray.inference.predictor import Predictor
from focus_ray.model import Model, weights_digest
from focus_ray.numerics.statistics import Moments, merge_tree
from focus_ray.prior import GateResult, Prior
from focus_ray.priors.measure import fit_batch

BATCH = 50
FACE_MODEL_PREFIX = "parametric-"  # of the names of face models that have a synthetic world


def world_faces(
    face: MorphableModel, config: SyntheticConfig, modes: tuple[int, int, int], image_size: int
) -> FaceDataset:
    """Return faces of the synthetic world around a fitted parametric face; training never sees them.

    Args:
        face: fitted face model.
        config: settings of the synthetic faces.
        modes: numbers of identity, expression and albedo modes of the world's face.
        image_size: side of the images, px.

    Raises:
        ConfigError: the face model is not a parametric one and has no synthetic world.
    """
    resolution = world_resolution(face)
    world = parametric_face(resolution, *modes)
    return SyntheticFaces(world, config.model_copy(update={"image_size": image_size}), "validation")


def world_resolution(face: MorphableModel) -> Resolution:
    """Return the resolution of the parametric face that a face model was made from.

    Raises:
        ConfigError: the face model is not a parametric one and has no synthetic world.
    """
    for resolution in get_args(Resolution):
        if face.name == f"{FACE_MODEL_PREFIX}{resolution}":
            return resolution
    raise ConfigError(
        f"there is no synthetic world for face model {face.name!r}; build the prior without a target model, "
        "or score it with `focus-ray evaluate folder` and its option for a prior"
    )


def run_gate(
    prior: Prior, model: Model, faces: FaceDataset, count: int, progress: Callable[[int, int], object] = lambda *_: None
) -> GateResult:
    """Compare a model's vertex errors with and without the prior.

    Args:
        prior: misfit prior to test.
        model: model that the prior will correct.
        faces: faces with true vertices.
        count: number of faces, at least 2.
        progress: called with (faces done, faces in all).

    Returns:
        Mean vertex error before and after, mean gain with its standard error, in mm; share of faces that improve.
    """
    focus, steps = model.focus, prior.info.pipeline.refine_steps
    predictor = Predictor(focus, model.refine).eval()
    parts = []
    for start in range(0, count, BATCH):
        batch = faces.batch(range(start, min(start + BATCH, count)))
        assert batch.vertices is not None
        fitted = focus.face_model.vertices(split_theta(fit_batch(predictor, batch, steps)).alpha)
        before, after = (vertex_distance(one, batch.vertices) for one in (fitted, prior.correct(fitted)))
        figures = [before, after, before - after, (after < before).double()]
        parts.append(Moments.from_samples(torch.stack(figures, dim=1)))
        progress(start + len(batch), count)
    total = merge_tree(parts)
    before, after, gain, improved = total.mean.tolist()
    return GateResult(
        model_version=model.version,
        model_digest=weights_digest(focus),
        faces=total.count,
        vertex_before_mm=before,
        vertex_after_mm=after,
        gain_mm=gain,
        gain_standard_error_mm=float(total.standard_error[2]),
        improved_share=improved,
    )
