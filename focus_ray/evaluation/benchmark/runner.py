"""Runs a benchmark, from training to the paper's tables; the same command resumes an interrupted one.

OUT/  config.json  data/{now,ar,celebahq}/  runs/seed-N/MODEL/  predictions/seed-N/METHOD/{now,ar,celebahq}/  parts/
      results.json  tables.md  tables.tex  tables.json  sheets/  report.html
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources import open_labelled, open_now
from focus_ray.data.sources.description import Layout
from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.evaluation import evaluation_plots, vertex_error
from focus_ray.evaluation import tables as tabling
from focus_ray.evaluation.benchmark.benchmark_config import BenchmarkConfig
from focus_ray.evaluation.benchmark.method_loader import MethodLoader
from focus_ray.evaluation.benchmark.train import train_all
from focus_ray.evaluation.evaluate import EvaluationResult, write_results
from focus_ray.evaluation.evaluation_plots import SheetColumn
from focus_ray.evaluation.labelled import score_pictures, subset_rows
from focus_ray.evaluation.now.now_scoring import OCCLUDED, OVERALL, NowScores, collect_subsets, now_rows, score_now
from focus_ray.evaluation.now.pooled_errors import ErrorSummary
from focus_ray.evaluation.now.submission import Submission
from focus_ray.evaluation.predict import PictureDataset, predict
from focus_ray.evaluation.predictions import MESHES, PredictionFolder
from focus_ray.evaluation.rows import MetricValue, ResultRow, make_rows
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.presets import load as preset_of
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.storage import atomic
from focus_ray.training.assemble import fitted_face

NOTE = "Ours: synthetic pictures in the layout of the data set, not the data set itself."
FIGURE_3 = ("MoFA", "FOCUS")
FIGURE_5 = ("Deep3D-style", "MoFA", "FOCUS")

PhaseProgress = Callable[[str, int, int], object]


@dataclass
class Datasets:
    """The three data sets of a benchmark."""

    now: NowPictures
    ar: LabelledPictures
    celebahq: LabelledPictures

    @property
    def labelled(self) -> dict[str, LabelledPictures]:
        return {"ar": self.ar, "celebahq": self.celebahq}

    @property
    def all(self) -> dict[str, PictureDataset]:
        return {"now": self.now, **self.labelled}


@dataclass
class BenchmarkScores:
    """Rows, problems and figures of the methods that are scored so far."""

    rows: list[ResultRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    now: dict[str, ErrorSummary] = field(default_factory=dict)  # by method, first seed
    # Mean error of each vertex on occluded pictures, mm; by method, first seed.
    vertices: dict[str, Float[np.ndarray, " V"]] = field(default_factory=dict)


@dataclass
class Benchmark:
    """One benchmark run: configuration, output folder, task pool and callbacks."""

    config: BenchmarkConfig
    folder: RunFolder
    settings: PoolSettings | None
    should_stop: Callable[[], bool]
    progress: PhaseProgress

    @property
    def out(self) -> Path:
        return self.folder.path

    @cached_property
    def face(self) -> MorphableModel:
        """Face model that all models fit."""
        return fitted_face(preset_of(self.config.preset))

    def run(self) -> EvaluationResult:
        """Run all stages: data sets, training, priors, scores, figures, tables."""
        sets = self.prepare_datasets()
        train_all(self.config, self.out / "runs", self.settings, self.should_stop, self.progress)
        loader = MethodLoader(self.config, self.out / "runs")
        loader.build_priors(self.settings, self.progress)
        found = BenchmarkScores()
        entries = loader.entries()
        for number, (name, seed, steps) in enumerate(entries):
            self.progress("methods", number, len(entries))
            self.score_method(loader, name, seed, steps, sets, found)
        self.progress("methods", len(entries), len(entries))
        found.rows += tabling.occlusion_gap_rows(found.rows)
        self.draw_figures(sets, found)
        self.write_tables(found)
        return EvaluationResult(found.rows, found.problems)

    def prepare_datasets(self) -> Datasets:
        """Open the data sets, after missing ones are written."""
        sizes = self.config.data
        side = preset_of(self.config.preset).model.camera.image_size
        wanted: dict[Layout, int] = {"now": sizes.now, "ar": sizes.ar, "celebahq": sizes.celebahq}
        for layout, n in wanted.items():
            if not self.dataset_folder(layout).is_dir():
                report = partial(self.progress, f"pictures, {layout}")
                write_dataset(layout, self.dataset_folder(layout), n, seed=sizes.seed, size=side, progress=report)
        return Datasets(
            NowPictures(open_now(self.dataset_folder("now"))),
            open_labelled(self.dataset_folder("ar")),
            open_labelled(self.dataset_folder("celebahq")),
        )

    def dataset_folder(self, layout: str) -> Path:
        return self.out / "data" / layout

    def prediction_folder(self, method: str, seed: int, dataset: str) -> Path:
        """Return the folder of a method's predictions on a data set."""
        return self.out / "predictions" / f"seed-{seed}" / method.replace(", ", "-") / dataset

    def score_method(
        self, loader: MethodLoader, name: str, seed: int, steps: int, sets: Datasets, scores: BenchmarkScores
    ) -> None:
        """Predict all data sets with a method and score its predictions.

        Args:
            loader: loader of the methods.
            name: name of the method, without its refinement.
            seed: seed of the training.
            steps: refinement steps of each fit.
            sets: data sets.
            scores: scores so far, extended in place.
        """
        method = loader.load_method(name, seed, steps)
        for dataset, faces in sets.all.items():
            place = self.prediction_folder(method.name, seed, dataset)
            scores.problems += predict(
                method, faces, place, self.settings, meshes=dataset == "now", should_stop=self.should_stop
            )
        for dataset, faces in sets.labelled.items():
            place = self.prediction_folder(method.name, seed, dataset)
            for what in ("segmentation", "photometric"):
                scored = score_pictures(what, faces, place, self.out, self.settings, should_stop=self.should_stop)
                scores.rows += subset_rows(what, method.name, dataset, faces, scored, seed)
                scores.problems += [f"{method.name}, seed {seed}: {problem}" for problem in scored.problems]
        self.score_on_now(method.name, seed, sets.now, scores)

    def score_on_now(self, method: str, seed: int, faces: NowPictures, scores: BenchmarkScores) -> None:
        """Score the predictions on NoW by NoW's metric, by exact vertex errors, and by the rank correlation of the two.

        Args:
            method: name of the method, with its refinement.
            seed: seed of the training.
            faces: NoW data set.
            scores: scores so far, extended in place.
        """
        submission = Submission(self.prediction_folder(method, seed, "now") / MESHES)
        scored = score_now(faces.dataset, submission, self.out, self.settings, should_stop=self.should_stop)
        chosen = collect_subsets(faces.dataset, faces.pairs())
        scores.rows += now_rows(method, "now", faces.dataset, scored, chosen, metrical=False, seed=seed)
        scores.problems += [f"{method}, seed {seed}: {problem}" for problem in scored.problems]
        errors = vertex_errors_by_picture(faces, submission, scored)
        regions = self.face.parts
        for subset, names in chosen.items():
            figures = vertex_error.vertex_error_metrics([errors[name] for name in names if name in errors], regions)
            about = {"table": vertex_error.TABLE, "method": method, "dataset": "now", "subset": subset, "seed": seed}
            scores.rows += make_rows(figures, partial=any(name not in errors for name in names), **about)
            if subset == OVERALL:
                means = {name: float(values.mean()) for name, values in errors.items()}
                agreement = {vertex_error.CORRELATION: vertex_error.rank_correlation(means, scored.means())}
                scores.rows += make_rows(agreement, **about)
        if seed == self.config.seeds[0]:
            scores.now[method] = scored.errors.summary()
            occluded = [errors[name] for name in chosen[OCCLUDED] if name in errors]
            if occluded:
                scores.vertices[method] = np.mean(occluded, axis=0)

    def draw_figures(self, sets: Datasets, scores: BenchmarkScores) -> None:
        """Draw the paper's figures 3 and 5, cumulative curves and error maps."""
        seed = self.config.seeds[0]
        refined = ", refined" if self.config.refine_steps else ""
        figures: tuple[tuple[str, tuple[str, ...], tuple[SheetColumn, ...]], ...] = (
            ("figure-3", FIGURE_3, ("reconstruction",)),
            ("figure-5", FIGURE_5, ("reconstruction", "mask")),
        )
        for title, names, shown in figures:
            for dataset, subset in (("celebahq", "occluded"), ("ar", "glasses"), ("ar", "scarf")):
                faces = sets.labelled[dataset]
                methods = {
                    name: PredictionFolder(self.prediction_folder(name + refined, seed, dataset))
                    for name in names
                    if name in self.config.methods
                }
                drawn = (
                    evaluation_plots.comparison_sheet(faces, faces.subsets.get(subset, []), methods, shown)
                    if methods
                    else None
                )
                if drawn is not None:
                    path = self.folder.sheets_folder / f"{title}-{dataset}-{subset}.png"
                    atomic.write_file(path, evaluation_plots.sheet_png(drawn))
        atomic.write_file(
            self.folder.sheets_folder / "cumulative.png",
            evaluation_plots.cumulative_error_plot(scores.now, f"NoW. {NOTE}"),
        )
        if scores.vertices:
            maps = evaluation_plots.error_maps(
                self.face, scores.vertices, f"Exact vertex errors, occluded pictures. {NOTE}"
            )
            atomic.write_file(self.folder.sheets_folder / "vertex-errors.png", maps)

    def write_tables(self, scores: BenchmarkScores) -> None:
        """Write tables.md, tables.tex and tables.json, then results and report."""
        printed = [*tabling.build_tables(scores.rows, NOTE), tabling.seed_table(scores.rows, NOTE)]
        atomic.write_file(self.out / "tables.md", "\n".join(one.to_markdown() for one in printed))
        atomic.write_file(self.out / "tables.tex", "\n".join(one.to_latex() for one in printed))
        atomic.write_file(self.out / "tables.json", json.dumps([one.to_dict() for one in printed], indent=1) + "\n")
        between = {"rank_correlation_of_methods": method_rank_correlation(scores.rows).value}
        write_results(self.folder, scores.rows, scores.problems, printed, **between)


def vertex_errors_by_picture(
    faces: NowPictures, submission: Submission, scores: NowScores
) -> dict[str, Float[np.ndarray, " V"]]:
    """Compute the distance of each vertex to its true position for the pictures whose truth is known.

    Args:
        faces: NoW data set.
        submission: predictions on it.
        scores: their scores; only scored pictures are read.

    Returns:
        Distances by name of the picture, mm.
    """
    errors = {}
    for name in scores.errors.distances:
        truth = faces.true_neutral(name)
        if truth is not None:
            errors[name] = vertex_error.vertex_errors(submission.read(name).mesh.vertices, truth)
    return errors


def method_rank_correlation(rows: list[ResultRow]) -> MetricValue:
    """Compute the rank correlation of the methods' NoW errors with their exact vertex errors."""
    by_now = {row.method: row.value for row in rows if (row.table, row.subset, row.metric) == ("now", OVERALL, "mean")}
    by_truth = {
        row.method: row.value
        for row in rows
        if (row.table, row.subset, row.metric) == (vertex_error.TABLE, OVERALL, "vertex_mm")
    }
    known = [{name: value for name, value in one.items() if value is not None} for one in (by_now, by_truth)]
    return vertex_error.rank_correlation(*known)


def run_benchmark(
    config: BenchmarkConfig,
    out: Path,
    settings: PoolSettings | None,
    *,
    experiment: str = "focus",
    progress: PhaseProgress = lambda *_: None,
) -> EvaluationResult:
    """Run a benchmark into the folder `out`; a benchmark of the same configuration there is resumed.

    Args:
        config: configuration of the benchmark.
        out: output folder.
        settings: pool of Ray tasks; None: run in this process.
        experiment: name of the tracked experiment.
        progress: called with (phase, done, total).

    Raises:
        ConfigError: `out` holds something else.
        StorageError: the disk refuses.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        FocusRayError: a training run failed.
        Interrupted: the user stopped the benchmark.
    """
    with (
        graceful_shutdown() as should_stop,
        acquire_run_dir(out, config, experiment, label="benchmark") as folder,
        task_cluster(settings),
    ):
        return Benchmark(config, folder, settings, should_stop, progress).run()
