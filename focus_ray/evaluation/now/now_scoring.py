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

CACHE_VERSION = 1  # increase it when the computation of the distances changes
TABLE, METRICAL_TABLE = "now", "now-metrical"
OVERALL, OCCLUDED, UNOCCLUDED = "overall", "occluded", "unoccluded"
OCCLUSION_CHALLENGE = "multiview_occlusions"
"""Challenge whose pictures count as occluded."""


@dataclass
class NowScoringJob:
    """Pieces of `score_now`, one picture each."""

    dataset: NowDataset
    submission: Submission
    metrical: bool
    _scans: dict[str, Scan] = field(default_factory=dict, repr=False)

    @property
    def pictures(self) -> list[NowPicture]:
        """Pictures whose subject has a scan with landmarks."""
        return self.dataset.measurable

    @property
    def digest(self) -> str:
        """Digest of the pictures' names and of size and time of the predictions' files."""
        files = []
        for picture in self.pictures:
            for path in self.submission.mesh_files(picture.name) + self.submission.landmark_files(picture.name):
                known = path.stat()
                files.append((str(path), known.st_size, known.st_mtime_ns))
        names = [picture.name for picture in self.pictures]
        return digest(CACHE_VERSION, self.metrical, str(self.dataset.root), self.submission.unit, names, files)

    def prepare(self, device: str) -> None:
        """Do nothing: the job uses no device."""

    def piece(self, number: int) -> tuple[Arrays, list[str]]:
        """Measure the distances of a picture.

        Returns:
            (distances, empty if they cannot be measured; a line that says why).
        """
        picture = self.pictures[number]
        try:
            error = scan_error(self._scan(picture.subject), self.submission.read(picture.name), self.metrical)
        except DataError as problem:
            return {"distances": np.empty(0, np.float32)}, [f"{picture.name}: {problem}"]
        return {"distances": error.distances}, []

    def _scan(self, subject: str) -> Scan:
        """Read a subject's scan; the last one is kept, since a subject's pictures follow each other."""
        if subject not in self._scans:
            self._scans.clear()
            self._scans[subject] = self.dataset.scan(subject)
        return self._scans[subject]


@dataclass(frozen=True)
class NowScores:
    """Distances of the pictures, and a line for each picture without any."""

    errors: PooledErrors
    problems: list[str]

    def means(self) -> dict[str, float]:
        """Return the mean distance of each picture, mm."""
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
    """Measure every picture; finished ones are read from `out`/parts.

    Args:
        dataset: NoW data set.
        submission: predictions on it.
        out: folder whose parts/ keeps the finished pictures.
        settings: pool of Ray tasks; None: run in this process.
        metrical: whether the predictions' scale is kept.
        should_stop: polled while pictures are measured.
        progress: called with (pictures done, pictures in all).

    Returns:
        The distances; errors of single predictions are in `problems`.

    Raises:
        StorageError: the disk refuses.
        ClusterError: the cluster gave up.
        Interrupted: `should_stop` returned true.
    """
    job = NowScoringJob(dataset, submission, metrical)
    parts = ResultCache(out / "parts", job.digest)
    names = [picture.name for picture in job.pictures]
    found, problems = resume_or_run(
        job, len(names), parts, settings, should_stop, lambda known: progress(known, len(names))
    )
    # A picture that cannot be measured has no distances and must not be counted.
    distances = {
        names[number]: found[number]["distances"] for number in sorted(found) if len(found[number]["distances"])
    }
    return NowScores(PooledErrors(distances), problems)


def collect_subsets(dataset: NowDataset, pairs: Collection[tuple[str, str]] = ()) -> dict[str, list[str]]:
    """Collect the names of the pictures by subset: all, each challenge, occluded or not, and pairs.

    Args:
        dataset: NoW data set.
        pairs: names of pictures of comparable pose, (occluded, unoccluded).
    """
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
    """Return median, mean and standard deviation of each subset, in mm.

    Args:
        method: name of the method.
        name: name of the data set.
        dataset: NoW data set.
        scores: scores of its pictures.
        subsets: names of pictures by subset.
        metrical: whether the predictions' scale was kept.
        seed: seed of the method's training, if known.

    Returns:
        The rows; partial if a picture of the subset has no distances or something is missing in the data set.
    """
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
    """Return the figures of the challenge: median, mean and std, in mm."""
    return {name: MetricValue(getattr(summary, name)) for name in ("median", "mean", "std")}
