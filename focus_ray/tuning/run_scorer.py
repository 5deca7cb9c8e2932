"""Scores of a run on the judging photographs: of its checkpoints while it trains, and of its model.

RUN/judging.jsonl   a line for each scored step, in the layout of evaluations.jsonl
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from focus_ray import model
from focus_ray.data.photo_split import PhotoSubset
from focus_ray.errors import DataError
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.refine import RefineSettings
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.storage.json_lines import JsonLinesFile, read_json_lines
from focus_ray.training.unlabelled import score_unlabelled
from focus_ray.tuning.photographs import Part, PhotographDigests, PhotographSettings, open_judging, select_part
from focus_ray.tuning.planted_scores import PlantedPictures, score_planted

SCORES = "judging.jsonl"
PLANTED, REFINED = "planted_photos", "refined_planted_photos"
"""Keys of the figures of one pass and of refined fits in a line of the file."""


class JudgingPictures:
    """Judging photographs of one part, and the planted pictures made of them. Made once, used for any number of runs.

    Args:
        settings: the folders.
        digests: digests of the photographs when the sweep began.
        part: part of the judging photographs.
        image_size: side of the crops, px.
        count: number of planted pictures.
        seed: seed of the occluders.

    Raises:
        DataError: the photographs cannot be used, or are others than when the sweep began.
    """

    def __init__(
        self,
        settings: PhotographSettings,
        digests: PhotographDigests,
        part: Part,
        image_size: int,
        *,
        count: int,
        seed: int,
    ) -> None:
        photos = open_judging(settings, image_size)
        if photos.digest != digests.judge:
            raise DataError(f"{settings.judge} has other photographs than when the sweep began; restore them")
        self.digests = digests
        self.photos: PhotoSubset = select_part(photos, settings.comparison_share, part)
        self.planted = PlantedPictures(self.photos, count, seed)

    def score(self, focus: Focus, settings: RefineSettings, *, refine: bool) -> dict[str, Any]:
        """Score a model.

        Args:
            focus: networks, put in eval mode.
            settings: settings of the refinement.
            refine: score refined fits too.

        Returns:
            The figures, in the layout of an evaluation.
        """
        found = score_planted(focus, self.planted, settings, ("focus", "refined") if refine else ("focus",))
        refined = {REFINED: found["refined"]} if refine else {}
        return {PLANTED: found["focus"], "unlabelled": score_unlabelled(focus, self.photos, len(self.photos))} | refined


class RunScorer:
    """Scores one run and keeps the figures in its folder.

    Args:
        folder: folder of the run.
        pictures: pictures to score it on.
        device: device of the networks.
        refine: score refined fits of the model too.
    """

    def __init__(
        self, folder: Path, pictures: JudgingPictures, device: torch.device | str = "cpu", *, refine: bool = False
    ) -> None:
        self.run = RunFolder(folder)
        self.pictures = pictures
        self.device = device
        self.refine = refine

    def score_checkpoint(self, step: int) -> dict[str, Any]:
        """Score the checkpoint of a step; the run's random numbers stay as they are.

        Returns:
            The line of the file.

        Raises:
            CheckpointError: the checkpoint is missing or damaged.
            DataError: the run is trained on other photographs than when the sweep began.
        """
        config, face = self.run.open()
        state = self.run.checkpoints.load(step).state
        if state["lineage"]["data"] != self.pictures.digests.train:
            raise DataError(
                f"{config.photos} has other photographs or landmarks than when the sweep began; restore them"
            )
        with torch.random.fork_rng():
            known = state["perceptual"]
            focus = model.build(config.model, face, perceptual=known is not None, recogniser=known)
        for name in model.NETWORKS:
            if state[name] is not None:
                getattr(focus, name).load_state_dict(state[name])
        return self._record(step, self.pictures.score(focus.to(self.device), config.refine, refine=False))

    def score_model(self, step: int) -> dict[str, Any]:
        """Score the finished model, unless the file has its figures.

        Args:
            step: steps of the whole run.

        Returns:
            The line of the file.

        Raises:
            CheckpointError: the model is damaged.
        """
        known = read_scores(self.run.path).get(step)
        if known is not None and (REFINED in known or not self.refine):
            return known
        loaded = model.load(self.run.model_folder)
        return self._record(step, self.pictures.score(loaded.focus.to(self.device), loaded.refine, refine=self.refine))

    def _record(self, step: int, figures: Mapping[str, Any]) -> dict[str, Any]:
        line = {"step": step, **figures}
        file = JsonLinesFile(self.run.path / SCORES)
        file.append(line)
        file.close()
        return line


def read_scores(folder: Path) -> dict[int, dict[str, Any]]:
    """Read the scores in the folder of a run, by step; the last line of a step counts."""
    return {line["step"]: line for line in read_json_lines(folder / SCORES)}


def copy_scores(donor: Path, folder: Path, step: int) -> None:
    """Replace the scores of a run by those of another one up to a step.

    Args:
        donor: folder of the other run.
        folder: folder of the run.
        step: last step that is copied.

    Raises:
        StorageError: the disk cannot be written.
    """
    JsonLinesFile(folder / SCORES).rewrite(line for number, line in read_scores(donor).items() if number <= step)
