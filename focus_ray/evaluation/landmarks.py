"""Evaluates landmarks: those of a detector and of the fit to its faces, on pictures with true landmarks.

OUT/  config.json  run.json  results.json  metrics.json  pictures.csv  problems.txt  report.html  sheets/cumulative.png
      parts/ (finished pieces)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, ValidationError

from focus_ray import model as models
from focus_ray.config import absolute_location
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.detectors.detection import DetectorInfo
from focus_ray.data.sources.true_landmarks import open_true_landmarks
from focus_ray.errors import ConfigError, DataError
from focus_ray.evaluation.evaluate import write_results
from focus_ray.evaluation.landmark_error import Normalisation
from focus_ray.evaluation.landmark_report import (
    curve_picture,
    describe_failures,
    landmark_rows,
    landmark_tables,
    pictures_csv,
)
from focus_ray.evaluation.landmark_scoring import LandmarkScoringJob, score_landmarks
from focus_ray.evaluation.rows import ResultRow
from focus_ray.evaluation.tables import Table
from focus_ray.model import summarize_error
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.settings import Settings
from focus_ray.storage import atomic

PICTURES, CURVE = "pictures.csv", "cumulative.png"

_WITHOUT_LANDMARKS = ("haar", "haar-fast", "yunet")  # detectors that never give 68 points


class LandmarkConfig(Settings):
    """A detector and a model against the true landmarks of a folder."""

    kind: Literal["landmarks"] = "landmarks"
    data: str  # folder of pictures
    landmarks: str | None = None  # landmark file; None: found in the folder
    detector: str = "auto"
    detector_weights: str | None = None
    fit: bool = True  # whether the model is fitted, or the detector scored alone
    model: str | None = None  # model folder; None: the default model of the package
    refine: NonNegativeInt | None = None  # refinement steps; None: the model's own number
    normalise: Normalisation = "box"
    least_overlap: float = Field(default=0.3, gt=0, le=1)  # intersection over union of a detection with the true face


def build_landmark_config(data: Path, options: dict[str, Any]) -> LandmarkConfig:
    """Build the configuration from the arguments of the command line.

    Args:
        data: folder of pictures.
        options: further keys of LandmarkConfig; paths may be relative.

    Raises:
        ConfigError: a value does not fit.
    """
    paths = {"data": data, **{key: options.get(key) for key in ("landmarks", "detector_weights", "model")}}
    given = {key: absolute_location(str(path)) for key, path in paths.items() if path is not None}
    try:
        return LandmarkConfig.model_validate({**options, **given})
    except ValidationError as error:
        raise ConfigError(f"{summarize_error(error)}; see the options of `focus-ray evaluate landmarks`") from None


@dataclass(frozen=True)
class LandmarkResult:
    """Result of a landmark evaluation.

    Attributes:
        detector: what detected the faces.
        rows: figures of each method, of all pictures and by yaw.
        tables: the figures as tables.
        failures: why a face has no landmarks, by name of the picture.
        problems: a line for each picture or landmark file that cannot be used.
        unknown: number of the pictures without true landmarks.
    """

    detector: DetectorInfo
    rows: list[ResultRow]
    tables: list[Table]
    failures: dict[str, str]
    problems: list[str]
    unknown: int


def evaluate_landmarks(
    config: LandmarkConfig,
    out: Path,
    settings: PoolSettings | None,
    *,
    experiment: str = "focus",
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> LandmarkResult:
    """Evaluate into the folder `out`; finished pieces there are not computed again.

    Args:
        config: configuration of the evaluation.
        out: output folder.
        settings: pool of Ray tasks; None: run in this process.
        experiment: name of the tracked experiment.
        progress: called with ("pictures", pictures done, pictures in all).

    Returns:
        The figures. Errors of single pictures are in `problems` and make the rows partial.

    Raises:
        ConfigError: `out` holds something else, or the detector cannot be used.
        DataError: there are no pictures, or none can be scored.
        LandmarkError: there are no true landmarks.
        CheckpointError: the model is damaged.
        StorageError: the disk refuses.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        Interrupted: the user stopped the evaluation.
    """
    truth = open_true_landmarks(Path(config.data), None if config.landmarks is None else Path(config.landmarks), out)
    detector = resolve_detector(config.detector, config.detector_weights)
    if not config.fit and detector.info.name in _WITHOUT_LANDMARKS:
        raise ConfigError(
            f"the detector {detector.info.name} gives no landmarks: without a fit nothing can be scored; choose "
            "another detector, or fit the model"
        )
    model = models.load(None if config.model is None else Path(config.model)) if config.fit else None
    steps = config.refine if config.refine is not None or model is None else model.refine_steps
    job = LandmarkScoringJob(truth, detector, model, steps or 0, config.normalise, config.least_overlap)
    dataset = Path(config.data).name
    with graceful_shutdown() as should_stop, acquire_run_dir(out, config, experiment, label="evaluation") as folder:
        with task_cluster(settings):
            scores = score_landmarks(
                job,
                folder.path,
                settings,
                should_stop=should_stop,
                progress=lambda done, total: progress("pictures", done, total),
            )
        problems = [*truth.problems, *scores.problems]
        if not scores.scored or not scores.errors:
            reason = problems[0] if problems else f"the detector {detector.info.name} gives no landmarks"
            raise DataError(f"{config.data}: no picture can be scored; first reason: {reason}")
        rows = landmark_rows(scores, dataset, partial=bool(problems))
        tables = landmark_tables(rows, config.normalise)
        failures = describe_failures(scores)
        atomic.write_file(folder.path / PICTURES, pictures_csv(scores))
        atomic.write_file(folder.sheets_folder / CURVE, curve_picture(scores, dataset, config.normalise))
        more = {"failures": len(failures), "detector": detector.info.model_dump(mode="json"), "refine_steps": steps}
        write_results(folder, rows, problems, tables, **more)
    return LandmarkResult(detector.info, rows, tables, failures, problems, len(truth.unknown))
