"""Runs an evaluation: predictions of some methods against one data set, to results.json, pictures and a report.

OUT/  config.json  run.json  results.json  metrics.json  report.html  sheets/  parts/ (finished pieces)
"""

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources import open_labelled, open_now
from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.data.sources.now import LISTS, NowSplit
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.data.sources.subset_lists import propose_pairs, write_pairs
from focus_ray.errors import DataError
from focus_ray.evaluation import evaluation_plots
from focus_ray.evaluation.evaluation_config import EvaluationConfig
from focus_ray.evaluation.evaluation_report import write_evaluation_report
from focus_ray.evaluation.labelled import OVERALL, score_pictures, subset_rows
from focus_ray.evaluation.methods import load_method
from focus_ray.evaluation.now.now_scoring import OCCLUSION_CHALLENGE, collect_subsets, now_rows, score_now
from focus_ray.evaluation.now.preflight import check_submission
from focus_ray.evaluation.now.submission import Submission
from focus_ray.evaluation.predict import predict
from focus_ray.evaluation.predictions import MESHES, PredictionFolder
from focus_ray.evaluation.rows import ResultRow, write_rows
from focus_ray.evaluation.tables import Table
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.storage import atomic
from focus_ray.storage.open_store import open_store

METRICS_SCHEMA = 1

PhaseProgress = Callable[[str, int, int], object]  # phase, done, total


@dataclass(frozen=True)
class EvaluationResult:
    """Rows of an evaluation, and a line for each thing that is missing or wrong."""

    rows: list[ResultRow]
    problems: list[str]


def evaluate(
    config: EvaluationConfig,
    out: Path,
    settings: PoolSettings | None,
    *,
    experiment: str = "focus",
    progress: PhaseProgress = lambda *_: None,
) -> EvaluationResult:
    """Evaluate into the folder `out`; finished pieces there are not computed again.

    Args:
        config: configuration of the evaluation.
        out: output folder.
        settings: pool of Ray tasks; None: run in this process.
        experiment: name of the tracked experiment.
        progress: called with (method, pictures done, pictures in all).

    Returns:
        The rows; errors of single pictures are in `problems` and make the rows partial.

    Raises:
        ConfigError: `out` holds something else.
        DataError: there is no such data set or folder of predictions.
        StorageError: the disk or the object store refuses.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        Interrupted: the user stopped the evaluation.
    """
    with graceful_shutdown() as should_stop, acquire_run_dir(out, config, experiment, label="evaluation") as folder:
        evaluating = _evaluate_now if config.kind == "now" else _evaluate_labelled
        with task_cluster(settings):
            found = evaluating(config, folder, settings, should_stop, progress)
        write_results(folder, found.rows, found.problems)
    return found


def _evaluate_labelled(
    config: EvaluationConfig,
    folder: RunFolder,
    settings: PoolSettings | None,
    should_stop: Callable[[], bool],
    progress: PhaseProgress,
) -> EvaluationResult:
    assert config.kind != "now"
    data = open_labelled(config.data)
    rows: list[ResultRow] = []
    problems = list(data.missing)
    methods = {name: PredictionFolder(Path(place)) for name, place in config.predictions.items()}
    for name, predictions in methods.items():
        check_folder_exists(predictions.folder)
        scored = score_pictures(
            config.kind,
            data,
            predictions.folder,
            folder.path,
            settings,
            should_stop=should_stop,
            progress=lambda done, total, name=name: progress(name, done, total),
        )
        rows += subset_rows(config.kind, name, data.layout, data, scored, config.seed)
        problems += [f"{name}: {problem}" for problem in scored.problems]
    draw_sheets(folder, data, methods)
    return EvaluationResult(rows, problems)


def _evaluate_now(
    config: EvaluationConfig,
    folder: RunFolder,
    settings: PoolSettings | None,
    should_stop: Callable[[], bool],
    progress: PhaseProgress,
) -> EvaluationResult:
    data = open_now(local_copy(config.data, folder.path / "data"), config.split)
    chosen = collect_subsets(data, NowPictures(data).pairs())
    rows: list[ResultRow] = []
    problems = list(data.missing)
    summaries = {}
    for name, place in config.predictions.items():
        check_folder_exists(Path(place))
        submission = Submission(mesh_folder(Path(place)), config.unit)
        found = check_submission(submission, data, metrical=config.metrical)
        problems += [
            f"{name}: {finding.severity}: {finding.item}: {finding.problem}; {finding.advice}" for finding in found
        ]
        scored = score_now(
            data,
            submission,
            folder.path,
            settings,
            metrical=config.metrical,
            should_stop=should_stop,
            progress=lambda done, total, name=name: progress(name, done, total),
        )
        rows += now_rows(name, "now", data, scored, chosen, metrical=config.metrical, seed=config.seed)
        problems += [f"{name}: {problem}" for problem in scored.problems]
        summaries[name] = scored.errors.summary()
    atomic.write_file(
        folder.sheets_folder / "cumulative.png",
        evaluation_plots.cumulative_error_plot(summaries, f"NoW, {config.split}"),
    )
    return EvaluationResult(rows, problems)


def predict_dataset(
    data: str,
    model: Path | None,
    out: Path,
    settings: PoolSettings | None,
    *,
    split: NowSplit = "validation",
    detector: DetectorSpec | None = None,
    progress: Callable[[int, int], object] = lambda *_: None,
    **options: Any,
) -> tuple[int, list[str]]:
    """Predict the pictures of a data set of either kind with a model.

    Args:
        data: folder or s3://bucket/prefix of the data set.
        model: model folder; None: the default model of the package.
        out: folder for the predictions.
        settings: pool of Ray tasks; None: run in this process.
        split: split of NoW.
        detector: locates the faces of pictures without landmarks; None: the detector "auto".
        progress: called with (pictures done, pictures in all).
        **options: those of methods.load_method.

    Returns:
        (number of pictures with a prediction, a line for each picture without one).

    Raises:
        ConfigError: `out` holds predictions of another method.
        DataError: there is no such data set.
        StorageError: the disk or the object store refuses.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        Interrupted: the user stopped the prediction.
    """
    method = load_method(model, **options)
    faces, missing = open_pictures(data, out, split)
    with graceful_shutdown() as should_stop, task_cluster(settings):
        meshes = isinstance(faces, NowPictures)
        watch = {"should_stop": should_stop, "progress": progress}
        problems = predict(method, faces, out, settings, meshes=meshes, detector=detector, **watch)
    return len(faces.names) - len(problems), [*missing, *problems]


def propose_now_pairs(data: str, predictions: Path, out: Path, split: NowSplit = "validation") -> list[tuple[str, str]]:
    """Write pairs of a subject's NoW pictures whose predicted poses are comparable (Table 3).

    Args:
        data: folder or s3://bucket/prefix of the data set.
        predictions: folder of predictions with poses.
        out: file of pairs to write.
        split: split of NoW.

    Returns:
        Names of the pairs, (occluded, unoccluded).

    Raises:
        DataError: there is no such data set, or the predictions have no poses.
        StorageError: the disk or the object store refuses.
    """
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:  # from a bucket, download only the lists
        faces = open_now(local_copy(data, Path(scratch), only=tuple(LISTS.values())), split)
    poses = PredictionFolder(predictions)
    known = [one for one in faces.pictures if poses.is_complete(one.name)]
    if not known:
        raise DataError(f"{predictions}: no poses of the pictures in {data}; write them with `evaluate predict`")
    pairs = propose_pairs(
        [one.name for one in known],
        [one.subject for one in known],
        np.array([poses.face(one.name)["rotation"] for one in known], dtype=np.float64),
        np.array([one.challenge == OCCLUSION_CHALLENGE for one in known]),
    )
    write_pairs(out, pairs)
    return pairs


def open_pictures(data: str, out: Path, split: NowSplit) -> tuple[NowPictures | LabelledPictures, list[str]]:
    """Open a data set of either kind, which its files decide.

    Args:
        data: folder or s3://bucket/prefix of the data set.
        out: folder whose data/ takes the copy of a NoW set from a bucket.
        split: split of NoW.

    Returns:
        (data set, a line for each thing that is missing in it).

    Raises:
        DataError: there is no such data set.
        StorageError: the disk or the object store refuses.
    """
    source = open_picture_source(data)
    if not any(source.holds(name) for name in LISTS.values()) and not is_now_archive(data):
        labelled = open_labelled(data)
        return labelled, labelled.missing
    faces = NowPictures(open_now(local_copy(data, out / "data"), split))
    return faces, faces.dataset.missing


def is_now_archive(data: str) -> bool:
    """Return whether a data set is a folder with the unpacked NoW archives."""
    return "://" not in data and any((Path(data) / name).is_dir() for name in ("NoW_Dataset", "final_release_version"))


def local_copy(data: str, folder: Path, only: Collection[str] | None = None) -> Path:
    """Return a data set as a local folder: itself, or a copy of the objects below s3://bucket/prefix.

    Args:
        data: folder or s3://bucket/prefix of the data set.
        folder: folder for the copy; files in it of the right size are not fetched again.
        only: names of the files to fetch; None: all.

    Raises:
        StorageError: the disk or the object store refuses.
        DataError: an object's name leads out of the folder.
    """
    if "://" not in data:
        return Path(data)
    store = open_store(data)
    for entry in store.list():
        if only is not None and entry.key.rpartition("/")[2] not in only:
            continue
        target = folder / entry.key
        if not target.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{store}/{entry.key!r} would be copied outside {folder}; rename the object")
        if not target.is_file() or target.stat().st_size != entry.size:
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download(entry.key, target)
    return folder


def mesh_folder(folder: Path) -> Path:
    """Return the folder of the meshes of some predictions: meshes/, or the folder itself as in the NoW challenge."""
    return folder / MESHES if (folder / MESHES).is_dir() else folder


def check_folder_exists(folder: Path) -> None:
    """Check that a folder of predictions exists.

    Raises:
        DataError: it does not.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of predictions; check its path")


def draw_sheets(folder: RunFolder, data: LabelledPictures, methods: dict[str, PredictionFolder]) -> None:
    """Draw a sheet for each subset, methods side by side; subsets without a readable picture get none."""
    for subset, names in ({OVERALL: data.names} | dict(data.subsets)).items():
        drawn = evaluation_plots.comparison_sheet(data, names, methods)
        if drawn is not None:
            atomic.write_file(folder.sheets_folder / f"{data.layout}-{subset}.png", evaluation_plots.sheet_png(drawn))


def write_results(
    folder: RunFolder, rows: Sequence[ResultRow], problems: Sequence[str], tables: Sequence[Table] = (), **more: Any
) -> None:
    """Write results.json, metrics.json, problems.txt and the report.

    Args:
        folder: run folder.
        rows: rows of all tables.
        problems: a line for each thing that is missing or wrong.
        tables: tables that the report shows before the rows.
        **more: further keys of metrics.json.

    Raises:
        StorageError: the disk refuses.
    """
    write_rows(folder.path, rows)
    figures: dict[str, Any] = {}
    for row in rows:
        about = (row.table, row.method, "" if row.seed is None else f"seed {row.seed}", row.dataset, row.subset)
        node = figures
        for key in filter(None, about):
            node = node.setdefault(key, {})
        node[row.metric] = row.value
    folder.write_json("metrics.json", {"schema": METRICS_SCHEMA, "figures": figures, "problems": len(problems), **more})
    atomic.write_file(folder.path / "problems.txt", "".join(f"{problem}\n" for problem in problems))
    write_evaluation_report(folder.path, rows, problems, tables)
