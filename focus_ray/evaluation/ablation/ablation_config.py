"""Configuration of an ablation, one frozen tree: a folder with another one is refused."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveInt, ValidationError, field_validator

from focus_ray import model as models
from focus_ray import presets
from focus_ray.config import Cadence, HeldoutSettings, RunConfig
from focus_ray.data.composites.composite_folder import LANDMARKS, OCCLUDERS, ROWS, SETTINGS, CompositeFolder
from focus_ray.errors import ConfigError, DataError
from focus_ray.evaluation.ablation.ablation_rows import ABLATION_ROWS
from focus_ray.model import summarize_error
from focus_ray.settings import Settings
from focus_ray.storage.config_digest import config_digest
from focus_ray.training.missing_landmarks import lacks_landmarks

PRESET = "portrait_em"

_CHECKPOINT_STEPS = 250
_NEVER = 10**9


class AblationConfig(Settings):
    """Configuration of an ablation; equal configurations give the same figures."""

    rows: tuple[str, ...]
    training: RunConfig  # the preset with photographs, seed and steps; all models are changes of it
    start: str  # version of the model that all models start from
    composites: str  # folder
    composites_digest: str
    refine_steps: NonNegativeInt = 48  # 0: no refined rows
    detector: str | None = None  # locates the faces of the composites; None: their landmarks do
    appearance_photographs: PositiveInt = 400  # at most so many, evenly spaced, for the prior of a refined model

    @field_validator("rows")
    @classmethod
    def _check_rows(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(rows) - set(ABLATION_ROWS))
        if unknown or not rows:
            raise ValueError(f"there is no method {', '.join(unknown)}; choose from {', '.join(ABLATION_ROWS)}")
        return tuple(name for name in ABLATION_ROWS if name in rows)

    @property
    def digest(self) -> str:
        """sha256 of the tree, in which the digest of the training stands for the training."""
        return config_digest(comparable_tree(self.model_dump(mode="json")))


def comparable_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a config.json with the digest of the training in place of the training.

    Keys of a training that later versions add do not change its digest, as long as their values change nothing.

    Args:
        tree: content of an ablation's config.json.
    """
    training = tree.get("training")
    return tree | {"training": config_digest(training)} if isinstance(training, dict) else tree


def build_ablation_config(
    photographs: Path,
    composites: Path,
    *,
    rows: Sequence[str] | None = None,
    steps: float = 1.0,
    refine_steps: int = 48,
    seed: int = 0,
    detector: str | None = None,
    assignments: Sequence[str] = (),
) -> AblationConfig:
    """Build the configuration.

    Args:
        photographs: folder of photographs of open faces with landmarks.csv, to train on.
        composites: finished folder of composites of other persons.
        rows: keys of ABLATION_ROWS; None: all.
        steps: share of the steps of every phase, in (0, 1].
        refine_steps: refinement steps of the refined rows; 0: no such rows.
        seed: seed of all trainings.
        detector: name of the detector that locates the faces of the composites; None: their landmarks do.
        assignments: `a.b=v` texts, keys of the preset.

    Raises:
        ConfigError: a key or row does not exist, or a value does not fit.
        DataError: the photographs have no landmarks, or the composites are unfinished or damaged, or lack a file.
        LandmarkError: the landmarks of the composites are missing or damaged.
        CheckpointError: the start model is damaged.
    """
    if not 0 < steps <= 1:
        raise ConfigError(f"{steps} is not a share of the steps; give a number above 0 and up to 1")
    folder = CompositeFolder(composites)
    training = _training(photographs, steps, seed, assignments)
    if training.data.planted is None or training.start_from is None:
        raise ConfigError("the ablation needs data.planted and start_from of the preset; leave them as they are")
    if lacks_landmarks(training):
        raise DataError(f"{photographs} has no landmarks.csv; detect the landmarks of the photographs first")
    start = models.load(training.start_from)
    try:
        return AblationConfig(
            rows=tuple(ABLATION_ROWS if rows is None else rows),
            training=training,
            start=start.version,
            composites=str(composites.absolute()),
            composites_digest=_digest(folder),
            refine_steps=refine_steps,
            detector=detector,
        )
    except ValidationError as error:
        raise ConfigError(f"{summarize_error(error)}; see the options of `focus-ray evaluate ablation`") from None


def _training(photographs: Path, steps: float, seed: int, assignments: Sequence[str]) -> RunConfig:
    """The preset with its options; scored after training only, all models in the same way."""
    preset = presets.load(PRESET, assignments=[*assignments, f"seed={seed}"])
    schedule = preset.schedule
    if steps < 1:
        schedule = schedule.rescale(max(1, round(schedule.total_steps * steps)))
    changes = {
        "schedule": schedule,
        "start_from": None if preset.start_from is None else preset.start_from.absolute(),
        "heldout": HeldoutSettings(size=0),
        "cadence": Cadence(
            checkpoint=min(_CHECKPOINT_STEPS, preset.cadence.checkpoint), keep=1, sheet=_NEVER, evaluate=_NEVER
        ),
    }
    return preset.model_copy(update=changes).with_photos(str(photographs), None)


def _digest(folder: CompositeFolder) -> str:
    """sha256 of the options, rows, landmarks, pictures and occluder masks of composites, file by file."""
    content = hashlib.sha256()
    tables = [folder.folder / name for name in (SETTINGS, ROWS, LANDMARKS)]
    pictures = [folder.folder / row.picture for row in folder.rows]
    masks = [folder.folder / OCCLUDERS / Path(row.picture).name for row in folder.rows]
    for path in [*tables, *pictures, *masks]:
        if not path.is_file():
            raise DataError(f"{path} is missing; write the composites again")
        try:
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); check the disk and the permissions") from None
    return content.hexdigest()
