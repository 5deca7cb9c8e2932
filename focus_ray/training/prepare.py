"""Prepares a run for training: a new run folder, or the existing one of a resumed run."""

from dataclasses import dataclass
from pathlib import Path

from focus_ray.config import RunConfig
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.runtime.run_folder import RunFolder, RunInfo
from focus_ray.training.assemble import fitted_face


@dataclass(frozen=True)
class RunRequest:
    """Request for a new run of a configuration, or, without one, to resume the run in `out`."""

    config: RunConfig | None
    out: Path
    storage: str | None = None  # where checkpoints are kept; None: in the run folder
    experiment: str = "focus"

    @property
    def resumes(self) -> bool:
        return self.config is None


@dataclass(frozen=True)
class PreparedRun:
    """A validated run whose folder has not been touched."""

    request: RunRequest
    folder: RunFolder
    config: RunConfig
    face: MorphableModel
    info: RunInfo

    def acquire(self) -> None:
        """Create the run folder and lock it, or lock the existing one of a resumed run.

        Raises:
            ConfigError: the folder holds other files, or another process trains in it.
            StorageError: the disk cannot be written.
        """
        if self.request.resumes:
            self.folder.lock()
        else:
            self.folder.create(self.config, self.face, self.info)


def prepare(request: RunRequest) -> PreparedRun:
    """Validate a request and read configuration and face model. Nothing is written.

    Raises:
        ConfigError: there is no run to resume, it has another storage than the request, or a new run lacks the
            photographs that its preset needs.
        CheckpointError: config.json or run.json is damaged, or the start model cannot be loaded.
        FaceModelError: the face model of the run folder is damaged.
    """
    out = Path(request.out)
    if request.config is None:
        config, face = RunFolder(out).open()
        folder = RunFolder(out, keep=config.cadence.keep)
        info = folder.info()
        if request.storage not in (None, info.storage):
            place = info.storage or "its own folder"
            raise ConfigError(f"the run in {out} keeps its checkpoints in {place}; give no other storage")
        return PreparedRun(request, folder, config, face, info)
    config = request.config
    check_planted(config)
    info = RunInfo(name=out.resolve().name, storage=request.storage, experiment=request.experiment)
    return PreparedRun(request, RunFolder(out, keep=config.cadence.keep), config, fitted_face(config, out), info)


def check_planted(config: RunConfig) -> None:
    """Check that a run which pastes occluders has photographs to paste them into.

    Raises:
        ConfigError: the photographs are not given, or a loss weighs occluders that are not pasted.
    """
    if config.data.planted is not None and config.photos is None:
        raise ConfigError(
            f"preset {config.preset!r} pastes occluders into photographs of open faces; give their folder, such as the "
            "train split of the public-domain portraits"
        )
    if config.em.segmentation.eta_planted and config.data.planted is None:
        raise ConfigError(
            "em.segmentation.eta_planted weighs pasted occluders, but data.planted, which pastes them, is not set; set "
            "both or neither"
        )
