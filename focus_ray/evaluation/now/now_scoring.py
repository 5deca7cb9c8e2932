"""Scores a folder of predictions against a NoW data set: each picture, then pooled by subset."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from focus_ray.data.sources.now import NowDataset, NowPicture, Scan
from focus_ray.errors import DataError
from focus_ray.evaluation.now.metric import scan_error
from focus_ray.evaluation.now.pooled_errors import ErrorSummary, PooledErrors
from focus_ray.evaluation.now.submission import Submission
from focus_ray.evaluation.rows import MetricValue, ResultRow, make_rows
from focus_ray.runtime.result_cache import Arrays, ResultCache, digest, resume_or_run
from focus_ray.runtime.tasks import PoolSettings

CACHE_VERSION = 1  # of what is computed: a change makes other numbers
TABLE, METRICAL_TABLE = "now", "now-metrical"
OVERALL, OCCLUDED, UNOCCLUDED = "overall", "occluded", "unoccluded"
OCCLUSION_CHALLENGE = "multiview_occlusions"
"""The challenge whose pictures are the occluded ones."""


@dataclass
class NowScoringJob:
    """The pieces of `score_now`: a picture each."""

    dataset: NowDataset
    submission: Submission
    metrical: bool
    _scans: dict[str, Scan] = field(default_factory=dict, repr=False)

    @property
    def pictures(self) -> list[NowPicture]:
        """Those that can be measured on."""
        return self.dataset.measurable

    @property
    def digest(self) -> str:
        """Of the pictures and of the predictions' files as they are now."""
        files = []
        for picture in self.pictures:
            for path in self.submission.mesh_files(picture.name) + self.submission.landmark_files(picture.name):
                known = path.stat()
                files.append((str(path), known.st_size, known.st_mtime_ns))
        names = [picture.name for picture in self.pictures]
        return digest(CACHE_VERSION, self.metrical, str(self.dataset.root), self.submission.unit, names, files)

    def prepare(self, device: str) -> None:
        """Nothing of it belongs on a device."""

    def piece(self, number: int) -> tuple[Arrays, list[str]]:
        """The distances of a picture, and in a line why there are none."""
        picture = self.pictures[number]
        try:
            error = scan_error(self._scan(picture.subject), self.submission.read(picture.name), self.metrical)
        except DataError as problem:
            return {"distances": np.empty(0, np.float32)}, [f"{picture.name}: {problem}"]
        return {"distances": error.distances}, []

    def _scan(self, subject: str) -> Scan:
        """The scan of the last subject is kept: a subject's pictures follow each other."""
        if subject not in self._scans:
            self._scans.clear()
            self._scans[subject] = self.dataset.scan(subject)
        return self._scans[subject]


@dataclass(frozen=True)
class NowScores:
    """The distances of each picture, and why there are none of the others."""

    errors: PooledErrors
    problems: list[str]

    def means(self) -> dict[str, float]:
        """The mean distance of each picture, in mm."""
        return {name: float(found.mean(dtype=np.float64)) for name, found in self.errors.distances.items()}


def score_now(
    dataset: NowDataset,
    submission: Submission,
    out: Path,
    settings: PoolSettings | None,
    *,
    metrical: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> NowScores:
    """Measure every picture; those that were measured before are taken from `out`/parts.

    Raises StorageError, ClusterError, Interrupted; what is wrong with single predictions is told in `problems`.
    """
    job = NowScoringJob(dataset, submission, metrical)
    parts = ResultCache(out / "parts", job.digest)
    names = [picture.name for picture in job.pictures]
    found, problems = resume_or_run(
        job, len(names), parts, settings, should_stop, lambda known: progress(known, len(names))
    )
    # A picture that cannot be measured has no distances, and is no picture without an error.
    distances = {
        names[number]: found[number]["distances"] for number in sorted(found) if len(found[number]["distances"])
    }
    return NowScores(PooledErrors(distances), problems)


def collect_subsets(dataset: NowDataset, pairs: Collection[tuple[str, str]] = ()) -> dict[str, list[str]]:
    """Names by subset: all, by challenge, occluded or not, and those of the pairs (occluded, unoccluded)."""
    found: dict[str, list[str]] = {OVERALL: [], UNOCCLUDED: [], OCCLUDED: []}
    for picture in dataset.pictures:
        occluded = picture.challenge == OCCLUSION_CHALLENGE
        for subset in (OVERALL, picture.challenge, OCCLUDED if occluded else UNOCCLUDED):
            found.setdefault(subset, []).append(picture.name)
    if pairs:
        found[f"pairs_{OCCLUDED}"] = [one for one, _ in pairs]
        found[f"pairs_{UNOCCLUDED}"] = [other for _, other in pairs]
    return found


def now_rows(
    method: str,
    name: str,
    dataset: NowDataset,
    scores: NowScores,
    subsets: Mapping[str, Collection[str]],
    *,
    metrical: bool,
    seed: int | None,
) -> list[ResultRow]:
    """Median, mean and std of each subset, in mm; partial where a picture of the subset has no distances."""
    rows: list[ResultRow] = []
    for subset, names in subsets.items():
        summary = scores.errors.select(set(names)).summary()
        rows += make_rows(
            summary_metrics(summary),
            table=METRICAL_TABLE if metrical else TABLE,
            method=method,
            dataset=name,
            subset=subset,
            seed=seed,
            partial=summary.pictures < len(names) or bool(dataset.missing),
        )
    return rows


def summary_metrics(summary: ErrorSummary) -> dict[str, MetricValue]:
    """The figures of the challenge."""
    return {name: MetricValue(getattr(summary, name)) for name in ("median", "mean", "std")}
