"""Evaluates a model on a folder of `data synthesize`: images, masks, landmarks, and the truth if it is included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.data.synthetic_folder import read_folder
from focus_ray.errors import DataError, FaceModelError
from focus_ray.model import Model
from focus_ray.prior import Prior
from focus_ray.storage import atomic
from focus_ray.training import heldout_scoring

BATCH_SIZE = 50


def evaluate_folder(
    folder: Path,
    model: Path | None,
    out: Path | None = None,
    refine_steps: int = 0,
    progress: Callable[[int, int], None] | None = None,
    prior: Path | None = None,
) -> dict[str, Any]:
    """Score a model on a folder of faces, and beside it an all-ones mask and the mean face.

    Args:
        folder: folder of `data synthesize`, with masks.
        model: model folder; None: the default model of the package.
        out: JSON file for the figures; None: not written.
        refine_steps: refinement steps of the refined variants; 0: without them.
        progress: called with (faces done, faces in all).
        prior: folder of a misfit prior. The variant that it was measured for also gets `corrected_mm`, the vertex
            error without the systematic part, and `improved_share`.

    Returns:
        Figures by subset with the keys of `heldout.focus`; those of the mask and the mean face under their names.

    Raises:
        DataError: the folder has another layout or no masks.
        CheckpointError: the model or the prior is damaged.
        ModelError: the prior belongs to another pipeline.
        FaceModelError: the prior or the folder's true vertices belong to another mesh.
    """
    bundle = models.load(model)
    faces = read_folder(folder, image_size=bundle.image_size)
    first = faces.batch([0])
    if first.masks is None:
        raise DataError(f"{folder}: no masks to score against; give masks/ with a PNG for each picture")
    true_vertices = first.vertices
    expected = bundle.focus.face_model.n_vertices
    if true_vertices is not None and true_vertices.shape[1] != expected:
        raise FaceModelError(
            f"truth.npz in {folder} has {true_vertices.shape[1]} vertices, the face model of {bundle.version} has "
            f"{expected}; synthesize the folder with that face model's resolution, or remove truth.npz"
        )
    settings = bundle.refine.model_copy(update={"steps": refine_steps})
    correcting = {} if prior is None else _prior_by_variant(priors.load(prior), bundle, refine_steps)
    scorer = heldout_scoring.Scorer(bundle.focus, settings)
    variants = heldout_scoring.ONE_PASS + (heldout_scoring.REFINED if refine_steps else ())
    scores = heldout_scoring.score_faces(
        scorer, faces, len(faces), BATCH_SIZE, frozenset(faces.unseen_families), variants, progress, correcting
    )
    result = {"folder": str(folder), "model_version": bundle.version, "images": len(faces)}
    result |= scores.pop("focus") | scores
    if out is not None:
        atomic.write_file(Path(out), json.dumps(result, indent=2) + "\n")
    return result


def _prior_by_variant(prior: Prior, model: Model, refine_steps: int) -> dict[str, Prior]:
    """Return the prior by the variant it was measured for, after a check that it fits the model."""
    one_pass = prior.info.pipeline.refine_steps == 0
    prior.check_pipeline(model, 0 if one_pass else refine_steps)
    return {"focus" if one_pass else "refined": prior}
