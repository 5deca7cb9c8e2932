"""Runs an ablation: trains the models, learns their appearance priors, scores them; the same command resumes it.

OUT/  config.json  run.json  runs/MODEL/  scores/ROW.json  ablation.json  ablation.txt  problems.txt  report.html

The results are written after each row, so that a look at the first ones is possible while the others train.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.picture_folder import list_pictures
from focus_ray.errors import DataError, Interrupted
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.ablation.ablation_rows import ABLATION_ROWS, LABELLED_MODELS, REFERENCE, encoder_steps
from focus_ray.evaluation.ablation.ablation_tables import ablation_tables
from focus_ray.evaluation.ablation.score import score_row
from focus_ray.evaluation.ablation.train import STOPPED, guard_message, model_run, run_metrics, train_model
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.evaluation.composite_figures import subsets, summarise, summarise_detection, summarise_difference
from focus_ray.evaluation.composite_scoring import OWN, CompositeScores
from focus_ray.evaluation.composites import LEVEL, RESAMPLES, SEED
from focus_ray.inference import learn_appearance
from focus_ray.numerics.bootstrap import GroupBootstrap
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.storage import atomic
from focus_ray.tracking.run_report import render_page

PhaseProgress = Callable[[str, int, int], object]


@dataclass
class Ablation:
    """One ablation: configuration, output folder and callbacks."""

    config: AblationConfig
    out: Path
    should_stop: Callable[[], bool]
    progress: PhaseProgress

    @cached_property
    def composites(self) -> CompositeFolder:
        """The composites."""
        return CompositeFolder(Path(self.config.composites))

    @cached_property
    def photographs(self) -> list[Path]:
        """Pictures that the models are trained on."""
        return list_pictures(Path(self.config.training.photos or ""), recursive=True).pictures

    def run(self) -> dict[str, Any]:
        """Train and score all rows.

        Returns:
            The content of ablation.json.

        Raises:
            DataError: there are too few photographs.
        """
        self.check_photographs()
        problems = self.check_persons()
        trained: dict[str, TrainingRun] = {}
        scores: dict[str, CompositeScores] = {}
        result = self.write(scores, trained, problems)
        for name in self.config.rows:
            row = ABLATION_ROWS[name]
            run = model_run(self.config, row.model, self.out)
            train_model(run, self.should_stop, partial(self.progress, f"training {row.model}, steps"))
            known = row.model in trained
            trained[row.model] = run
            message = guard_message(run)
            if message is not None:
                problems += [] if known else [message]
            else:
                scores[name] = self.score(name, RunFolder(run.folder).model_folder, problems)
            result = self.write(scores, trained, problems)
        return result

    def check_photographs(self) -> None:
        """Check, before anything is trained, that the photographs are enough for the appearance priors.

        Raises:
            DataError: they are not.
        """
        needed = any(self.needs_appearance(name) for name in self.config.rows)
        if needed and len(self.photographs) < learn_appearance.MIN_FACES:
            raise DataError(
                f"there are {len(self.photographs)} photographs, at least {learn_appearance.MIN_FACES} are needed for "
                "the refinement of photographs; give more, or score one pass only"
            )

    def needs_appearance(self, name: str) -> bool:
        """Return whether the fits of a row are refined with the model's own mask, by its appearance prior.

        Args:
            name: key of ABLATION_ROWS.
        """
        return self.config.refine_steps > 0 and ABLATION_ROWS[name].mask == OWN

    def check_persons(self) -> list[str]:
        """Return a line if photographs of the composites have names of training photographs."""
        folder = Path(self.config.training.photos or "")
        names = {path.relative_to(folder).as_posix() for path in self.photographs}
        sources = {row.source for row in self.composites.rows}
        shared = len(names & sources)
        if not shared:
            return []
        return [f"{shared} of {len(sources)} photographs of the composites have names of training photographs"]

    def score(self, name: str, model: Path, problems: list[str]) -> CompositeScores:
        """Score a row; its model learns the appearance prior first, if it is refined with its own mask.

        Args:
            name: key of ABLATION_ROWS.
            model: folder of its model.
            problems: a line for each thing that is wrong, extended in place.
        """
        row = ABLATION_ROWS[name]
        if self.needs_appearance(name) and models.load(model).appearance is None:
            try:
                self.learn_appearance(row.model, model)
            except DataError as error:
                problems.append(f"{row.title}: {error}; refined without a prior, as synthetic faces are")
        watch = self.watch("scoring")
        return score_row(
            row,
            model,
            self.composites,
            self.out / "scores" / f"{name}.json",
            refine_steps=self.config.refine_steps,
            detector=self.config.detector,
            progress=lambda done, total: watch(name, done, total),
        )

    def learn_appearance(self, name: str, model: Path) -> None:
        """Learn the appearance prior of a model from training photographs, and store it in the model's folder.

        Args:
            name: name of the model.
            model: its folder.

        Raises:
            DataError: too few faces are found, or the fits are too poor.
        """
        count = min(self.config.appearance_photographs, len(self.photographs))
        chosen = np.linspace(0, len(self.photographs) - 1, count).round().astype(int)
        paths = [self.photographs[number] for number in chosen]
        watch = self.watch(f"appearance of {name}")
        learn_appearance.store_appearance(model, paths, resolve_detector().build(), watch)

    def watch(self, phase: str) -> PhaseProgress:
        """Return a callback that reports the parts of a phase, and ends it if a stop was requested.

        Args:
            phase: what is done.
        """

        def report(part: str, done: int, total: int) -> None:
            self.progress(f"{phase}, {part}", done, total)
            if self.should_stop():
                raise Interrupted(STOPPED)

        return report

    def write(
        self, scores: dict[str, CompositeScores], trained: dict[str, TrainingRun], problems: list[str]
    ) -> dict[str, Any]:
        """Write the results so far: ablation.json, ablation.txt, problems.txt and report.html.

        Args:
            scores: scores by row.
            trained: finished runs by model.
            problems: a line for each thing that is wrong.

        Returns:
            The content of ablation.json.
        """
        result = self.summarise(scores, trained, problems)
        tables = ablation_tables(result)
        atomic.write_file(self.out / "ablation.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
        atomic.write_file(self.out / "ablation.txt", "\n".join(table.to_text() for table in tables))
        atomic.write_file(self.out / "problems.txt", "".join(f"{line}\n" for line in problems))
        html = render_page(
            "evaluation.html.jinja",
            name=self.out.resolve().name,
            facts={
                "rows": f"{len(scores)} of {len(self.config.rows)}",
                "composites": str(len(self.composites)),
                "photographs": str(self.config.training.photos),
                "start model": self.config.start,
                "seed": str(self.config.training.seed),
                "missing or wrong": str(len(problems)),
            },
            headline=[],
            tables=tables,
            pictures=[],
            problems=problems,
            config=json.dumps(self.config.model_dump(mode="json"), indent=2),
        )
        atomic.write_file(self.out / "report.html", html)
        return result

    def summarise(
        self, scores: dict[str, CompositeScores], trained: dict[str, TrainingRun], problems: list[str]
    ) -> dict[str, Any]:
        """Compute the figures of all rows so far.

        Args:
            scores: scores by row.
            trained: finished runs by model.
            problems: a line for each thing that is wrong.

        Returns:
            The content of ablation.json: `rows` by name, with `figures` and `differences` (from the row FOCUS) by pass,
            subset and metric: value, low, high; `models` by name; `unfinished`, rows without figures.
        """
        persons = [row.person for row in self.composites.rows]
        bootstrap = GroupBootstrap(persons, RESAMPLES, SEED, LEVEL)
        members = subsets(self.composites.rows)
        first = next(iter(scores.values()), None)
        detected = self.config.detector is not None and first is not None
        rows: dict[str, Any] = {}
        for name, scored in scores.items():
            row = ABLATION_ROWS[name]
            tables = {one: table for (one, _), table in scored.scores.items()}
            against = (
                {one: table for (one, _), table in scores[REFERENCE].scores.items()} if REFERENCE in scores else {}
            )
            rows[name] = {
                "title": row.title,
                "model": row.model,
                "mask": row.mask,
                "figures": {one: summarise(scored, table, bootstrap, members) for one, table in tables.items()},
                "differences": {
                    one: summarise_difference(scored, table, against[one], bootstrap, members)
                    for one, table in tables.items()
                    if one in against and name != REFERENCE
                },
            }
        return {
            "digest": self.config.digest,
            "photographs": self.config.training.photos,
            "folder": self.config.composites,
            "composites": len(self.composites),
            "persons": len(set(persons)),
            "alignment": self.config.detector or "landmarks",
            "start": self.config.start,
            "seed": self.config.training.seed,
            "refine_steps": self.config.refine_steps,
            "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
            "detection": summarise_detection(first, bootstrap, members) if detected and first is not None else None,
            "models": {name: describe_training(run) for name, run in trained.items()},
            "rows": rows,
            "unfinished": [name for name in self.config.rows if name not in scores],
            "problems": list(problems),
        }


def describe_training(run: TrainingRun) -> dict[str, Any]:
    """Return steps, time and version of a finished run.

    Args:
        run: run of a model.
    """
    metrics, schedule = run_metrics(run), run.config.schedule
    return {
        "model_version": metrics["model_version"],
        "labels": run.name in LABELLED_MODELS,
        "encoder_steps": encoder_steps(schedule),
        "segmenter_steps": schedule.pretrain_seg_steps + schedule.cycles * schedule.seg_steps,
        "steps": metrics["steps"],
        "guard_events": len(metrics["guard_events"]),
        "train_seconds": metrics["train_seconds"],
    }


def run_ablation(config: AblationConfig, out: Path, *, progress: PhaseProgress = lambda *_: None) -> dict[str, Any]:
    """Run an ablation into the folder `out`; an ablation of the same configuration there is resumed.

    Args:
        config: configuration of the ablation.
        out: output folder.
        progress: called with (phase, done, total).

    Returns:
        The content of ablation.json.

    Raises:
        ConfigError: `out` holds something else, or the preset or the detector cannot be used.
        DataError: the photographs or composites cannot be used, or show too few faces for an appearance prior.
        CheckpointError: a model or checkpoint is damaged, or the photographs changed.
        StorageError: the disk refuses.
        Interrupted: the user stopped the ablation.
    """
    with (
        graceful_shutdown() as should_stop,
        acquire_run_dir(out, config, "focus", label="ablation") as folder,
    ):
        return Ablation(config, folder.path, should_stop, progress).run()
