"""Evaluates a model on a folder of composites: figures by family and group, each with an interval over persons."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.picture_attributes import find_attributes
from focus_ray.evaluation.composite_figures import subsets, summarise, summarise_detection
from focus_ray.evaluation.composite_groups import summarise_groups
from focus_ray.evaluation.composite_scoring import MASKS, CompositeScorer, score_composites
from focus_ray.evaluation.open_faces import list_open_faces, summarise_open_faces
from focus_ray.numerics.bootstrap import GroupBootstrap
from focus_ray.storage import atomic

RESAMPLES, SEED, LEVEL = 1000, 0, 0.95
"""Number and seed of the bootstrap's drawings, and the share of them inside an interval."""


def evaluate_composites(
    folder: Path,
    model: Path | None,
    out: Path | None = None,
    refine_steps: int = 0,
    progress: Callable[[int, int], object] | None = None,
    detector: DetectorSpec | None = None,
    *,
    by_group: bool = False,
    attributes: Path | None = None,
    open_faces: Path | None = None,
    masks: Sequence[str] = MASKS,
) -> dict[str, Any]:
    """Score a model on composites, and beside its mask those of `composite_scoring`.

    Args:
        folder: folder of composites.
        model: model folder; None: the default model of the package.
        out: JSON file for the figures; None: not written.
        refine_steps: refinement steps of the refined variants; 0: without them.
        progress: called with (pictures done, pictures in all).
        detector: detector that locates the faces; None: the given landmarks do.
        by_group: whether to compute the figures by group too.
        attributes: file of the attributes of the composites' photographs and of those of open faces; None: those of
            the package, for each of the two if all of its photographs are portraits, see `picture_attributes`.
        open_faces: folder of photographs of open faces, see `open_faces`; None: without them.
        masks: names of the masks to score; each guides a refinement of its own.

    Returns:
        `figures` by pass, mask, subset and metric: value, low, high; `detection` by subset, None without a detector;
        `groups` and `open_faces`, None if they were not asked for; `open_faces` has also `marked`, the number of
        photographs that count because they are marked as open (None: there are no marks, all count), and `left_out`.

    Raises:
        DataError: the folder is unfinished or damaged, the attributes cannot be used or lack a photograph, or no
            photograph is an open face.
        CheckpointError: the model is damaged.
        ConfigError: the detector cannot be built.
        StorageError: `out` cannot be written.
    """
    composites = CompositeFolder(folder)
    known = find_attributes({row.source for row in composites.rows}, attributes)
    opened = None if open_faces is None else list_open_faces(open_faces, attributes)
    bundle = models.load(model)
    scorer = CompositeScorer(bundle, refine_steps, None if detector is None else detector.build(), masks)
    total = len(composites) + (0 if opened is None else len(opened.photographs))

    def watch(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    scores = score_composites(scorer, composites, watch)
    persons = [row.person for row in scores.rows]
    bootstrap = GroupBootstrap(persons, RESAMPLES, SEED, LEVEL)
    members = subsets(scores.rows)
    figures: dict[str, dict[str, Any]] = {}
    for (name, mask), table in scores.scores.items():
        figures.setdefault(name, {})[mask] = summarise(scores, table, bootstrap, members)
    groups = summarise_groups(composites, scores, bootstrap, known, detector is not None) if by_group else None
    open_figures = None
    if opened is not None:
        open_scores = score_composites(scorer, opened.photographs, lambda done, _: watch(len(composites) + done, 0))
        open_figures = {"folder": str(open_faces), "marked": opened.marked, "left_out": opened.left_out}
        open_figures |= summarise_open_faces(scores, open_scores, RESAMPLES, SEED, LEVEL)
    result = {
        "folder": str(folder),
        "model_version": bundle.version,
        "composites": len(composites),
        "persons": len(set(persons)),
        "alignment": "landmarks" if detector is None else f"{detector.info.name} {detector.info.version}",
        "refine_steps": refine_steps,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "detection": None if detector is None else summarise_detection(scores, bootstrap, members),
        "figures": figures,
        "groups": groups,
        "open_faces": open_figures,
    }
    if out is not None:
        atomic.write_file(out, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result
