"""Runs an ablation: trains the models, learns their appearance priors, scores them; the same command resumes it.

OUT/  config.json  run.json  runs/MODEL/  scores/ROW.json  ablation.json  ablation.txt  problems.txt  report.html

The results are written after each row, so that a look at the first ones is possible while the others train.
"""

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
from focus_ray.evaluation.ablation.ablation_config import AblationConfig, comparable_tree
from focus_ray.evaluation.ablation.ablation_results import write_results
from focus_ray.evaluation.ablation.ablation_rows import ABLATION_ROWS
from focus_ray.evaluation.ablation.score import score_row
from focus_ray.evaluation.ablation.train import STOPPED, guard_message, model_run, train_model
from focus_ray.evaluation.benchmark.train import TrainingRun
from focus_ray.evaluation.composite_scoring import OWN, CompositeScores
from focus_ray.inference import learn_appearance
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown

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
        result = write_results(self.config, self.out, self.composites, scores, trained, problems)
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
            result = write_results(self.config, self.out, self.composites, scores, trained, problems)
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
        acquire_run_dir(out, config, "focus", label="ablation", comparable=comparable_tree) as folder,
    ):
        return Ablation(config, folder.path, should_stop, progress).run()
