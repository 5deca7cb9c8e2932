"""Scores predictions against pictures with known masks: segmentation and colours in one pass over the pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.errors import DataError
from focus_ray.evaluation import photometric, segmentation
from focus_ray.evaluation.predictions import MASKS, REGIONS, RENDERINGS, PredictionFolder
from focus_ray.evaluation.rows import MetricValue, ResultRow, make_rows
from focus_ray.evaluation.segmentation import PixelCounts
from focus_ray.evaluation.tables import all_ones_method_name
from focus_ray.runtime.result_cache import Arrays, ResultCache, digest, resume_or_run
from focus_ray.runtime.tasks import PoolSettings

LabelledTask = Literal["segmentation", "photometric"]

CACHE_VERSION = 2  # increase it when the computation of the scores changes
BATCH = 50  # pictures per piece
OVERALL = "overall"

_MASK_VARIANTS: dict[str, str] = {
    "binarised": "",
    "soft": "soft_",
}  # variant of the mask: prefix of its metrics


@dataclass
class LabelledScoringJob:
    """Pieces of `score_pictures`, BATCH pictures each."""

    task: LabelledTask
    pictures: LabelledPictures
    predictions: PredictionFolder

    def __len__(self) -> int:
        return (len(self.pictures.names) + BATCH - 1) // BATCH

    def batch_names(self, number: int) -> list[str]:
        """Return the names of a piece's pictures."""
        return self.pictures.names[number * BATCH : (number + 1) * BATCH]

    @property
    def digest(self) -> str:
        """Digest of the pictures' names and of size and time of the predictions' files."""
        files = []
        for name in self.pictures.names:
            for kind in (MASKS, RENDERINGS, REGIONS):
                path = self.predictions.path(name, kind)
                if path.is_file():
                    known = path.stat()
                    files.append((name, kind, known.st_size, known.st_mtime_ns))
        return digest(CACHE_VERSION, BATCH, self.task, str(self.pictures.root), self.pictures.names, files)

    def prepare(self, device: str) -> None:
        """Do nothing: the job uses no device."""

    def piece(self, number: int) -> tuple[Arrays, list[str]]:
        """Score the pictures of a piece.

        Returns:
            (scores by name, a row for each picture, NaN where it cannot be scored; a line for each such picture).
        """
        look = self._score_mask if self.task == "segmentation" else self._score_colours
        rows, problems = [], []
        for name in self.batch_names(number):
            try:
                rows.append(look(name))
            except DataError as error:
                problems.append(f"{name}: {error}")
                rows.append(None)
        blank = _nan_scores(self.task)
        filled = [blank if row is None else row for row in rows]
        return {key: np.array([row[key] for row in filled], dtype=np.float64) for key in blank}, problems

    def _score_mask(self, name: str) -> dict[str, Any]:
        visible = self.pictures.mask(name)
        mask = self.predictions.mask(name, visible.shape)
        region = self.predictions.region(name, visible.shape)
        return {
            "binarised": segmentation.count_pixels(segmentation.binarise(mask), region, visible),
            "soft": segmentation.count_pixels(mask, region, visible),
            "all_ones": segmentation.count_pixels(np.ones_like(mask), region, visible),
        }

    def _score_colours(self, name: str) -> dict[str, Any]:
        picture, visible = self.pictures.picture(name), self.pictures.mask(name)
        rendering, region = self.predictions.rendering(name, visible.shape)
        return {"rmse_255": photometric.rmse_255(picture, rendering, region, visible)}


def _nan_scores(task: LabelledTask) -> dict[str, Any]:
    """Return the scores of a picture that cannot be scored."""
    nothing = (float("nan"),) * len(PixelCounts._fields)
    if task == "segmentation":
        return {"binarised": nothing, "soft": nothing, "all_ones": nothing}
    return {"rmse_255": float("nan")}


@dataclass(frozen=True)
class LabelledScores:
    """Scores of the pictures, and a line for each picture without a score."""

    arrays: Mapping[str, np.ndarray]  # [N] or [N, 4], in the order of the names
    problems: list[str]


def score_pictures(
    task: LabelledTask,
    pictures: LabelledPictures,
    predictions: Path,
    out: Path,
    settings: PoolSettings | None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> LabelledScores:
    """Score all pictures of a data set; finished pieces are read from `out`/parts.

    Args:
        task: segmentation or photometric.
        pictures: data set with masks.
        predictions: folder of predictions.
        out: folder whose parts/ keeps the finished pieces.
        settings: pool of Ray tasks; None: run in this process.
        should_stop: polled while pieces run.
        progress: called with (pictures done, pictures in all).

    Returns:
        The scores; errors of single pictures are in `problems`.

    Raises:
        StorageError: the disk refuses.
        ClusterError: the cluster gave up.
        Interrupted: `should_stop` returned true.
    """
    job = LabelledScoringJob(task, pictures, PredictionFolder(predictions))
    parts = ResultCache(out / "parts", job.digest)
    total = len(pictures.names)
    found, problems = resume_or_run(
        job, len(job), parts, settings, should_stop, lambda known: progress(min(known * BATCH, total), total)
    )
    names = found[0] if found else {}
    merged = {name: np.concatenate([found[number][name] for number in range(len(job))]) for name in names}
    return LabelledScores(merged, problems)


def subset_rows(
    task: LabelledTask, method: str, dataset: str, pictures: LabelledPictures, scores: LabelledScores, seed: int | None
) -> list[ResultRow]:
    """Return the rows of the whole data set, then those of each subset.

    Args:
        task: segmentation or photometric.
        method: name of the method.
        dataset: name of the data set.
        pictures: data set with masks.
        scores: scores of all its pictures.
        seed: seed of the method's training, if known.
    """
    places = {name: place for place, name in enumerate(pictures.names)}
    subsets = {OVERALL: pictures.names} | dict(pictures.subsets)
    partial = bool(scores.problems or pictures.missing)
    rows: list[ResultRow] = []
    for subset, names in subsets.items():
        chosen = [places[name] for name in names if name in places]
        about = {"table": task, "dataset": dataset, "subset": subset, "seed": seed, "partial": partial}
        arrays = {key: values[chosen] for key, values in scores.arrays.items()}
        for all_ones, figures in _metrics_by_mask(task, arrays).items():
            rows += make_rows(figures, method=all_ones_method_name(method) if all_ones else method, **about)
    return rows


def _metrics_by_mask(task: LabelledTask, arrays: Mapping[str, np.ndarray]) -> dict[bool, dict[str, MetricValue]]:
    """Return the figures of some pictures: with the method's mask (False) and with an all-ones mask (True)."""
    if not arrays:
        return {}
    if task == "photometric":
        return {False: photometric.photometric_metrics(arrays["rmse_255"].tolist())}
    known = {key: values[np.isfinite(values).all(axis=1)] for key, values in arrays.items()}
    own = {
        prefix + metric: figure
        for variant, prefix in _MASK_VARIANTS.items()
        for metric, figure in segmentation.segmentation_metrics(list(map(PixelCounts._make, known[variant]))).items()
    }
    return {False: own, True: segmentation.segmentation_metrics(list(map(PixelCounts._make, known["all_ones"])))}
