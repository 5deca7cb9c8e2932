"""Scores the rows of an ablation on composites; the scores of a row are kept in a file, `scores/ROW.json`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.errors import DataError
from focus_ray.evaluation.ablation.ablation_rows import AblationRow
from focus_ray.evaluation.composite_scoring import CompositeScorer, CompositeScores, PictureScores, score_composites
from focus_ray.storage import atomic

_FIELDS = len(PictureScores._fields)


def score_row(
    row: AblationRow,
    model: Path,
    composites: CompositeFolder,
    file: Path,
    *,
    refine_steps: int,
    detector: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> CompositeScores:
    """Score a row, or read its scores.

    Args:
        row: the row.
        model: folder of its model.
        composites: the composites.
        file: file of the row's scores; used if they are of this version of the model, else written.
        refine_steps: refinement steps of the refined variant; 0: one pass only.
        detector: name of the detector that locates the faces; None: their landmarks do.
        progress: called with (composites done, composites in all).

    Raises:
        CheckpointError: the model is damaged.
        ConfigError: the detector cannot be used.
        DataError: the file is damaged.
        ImageError: a picture or mask is missing or damaged.
        LandmarkError: landmarks are not those of a face.
        StorageError: the file cannot be written.
    """
    bundle = models.load(model)
    found = read_scores(file, row.mask, composites, bundle.version)
    if found is None:
        built = None if detector is None else resolve_detector(detector).build()
        scorer = CompositeScorer(bundle, refine_steps, built, masks=(row.mask,))
        found = score_composites(scorer, composites, progress)
        write_scores(file, found, bundle.version)
    return found


def write_scores(file: Path, scores: CompositeScores, model_version: str) -> None:
    """Write the scores of one mask.

    Args:
        file: JSON file to write.
        scores: scores of one mask by pass.
        model_version: version of the fitted model.

    Raises:
        StorageError: the file cannot be written.
    """
    passes = {name: [_as_list(line) for line in table] for (name, _), table in scores.scores.items()}
    content = {"model_version": model_version, "found": scores.found.tolist(), "scores": passes}
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(file, json.dumps(content, allow_nan=False) + "\n")


def read_scores(file: Path, mask: str, composites: CompositeFolder, model_version: str) -> CompositeScores | None:
    """Read the scores of one mask.

    Args:
        file: file of `write_scores`.
        mask: name of the mask.
        composites: the composites.
        model_version: version of the fitted model.

    Returns:
        The scores; None if there is no file, or it is of another version of the model.

    Raises:
        DataError: the file is damaged.
    """
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        if content["model_version"] != model_version:
            return None
        found = np.array(content["found"], dtype=bool)
        scores = {(name, mask): _as_table(lines) for name, lines in content["scores"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{file} is damaged; delete it, and the row is scored again") from None
    if {len(found), *(len(table) for table in scores.values())} != {len(composites)}:
        raise DataError(f"{file} is of other composites; delete it, and the row is scored again")
    return CompositeScores(composites.rows, found, scores)


def _as_list(line: Float[np.ndarray, " 8"]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in line]


def _as_table(lines: list[list[float | None]]) -> Float[np.ndarray, "N 8"]:
    return np.array(lines, dtype=np.float64).reshape(len(lines), _FIELDS)
