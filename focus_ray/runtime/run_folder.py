"""Run folder: config, history, metrics, sheets/, checkpoints/, model/, and the face model of the training."""

import fcntl
import json
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import Field

from focus_ray.config import RunConfig
from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.settings import Settings
from focus_ray.storage import atomic
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.storage.json_lines import JsonLinesFile
from focus_ray.tracking.history import read_history

LOCK = ".lock"


class RunInfo(Settings):
    """Name of a run and where its checkpoints are stored. Written once."""

    schema_version: Literal[1] = 1
    run_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    name: str
    storage: str | None = None  # the object store of its checkpoints; None: the run folder itself
    experiment: str = "focus"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class RunFolder:
    """One run's files. Everything but the history is written atomically."""

    def __init__(self, path: Path, keep: int = 3):
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep=keep)
        self.history_file = JsonLinesFile(self.path / "history.jsonl")
        self.evaluations_file = JsonLinesFile(self.path / "evaluations.jsonl")
        self.log_file = JsonLinesFile(self.path / "log.jsonl")
        self._lock: TextIO | None = None

    @property
    def model_folder(self) -> Path:
        return self.path / "model"

    @property
    def sheets_folder(self) -> Path:
        return self.path / "sheets"

    @property
    def face_file(self) -> Path:
        return self.path / "face.safetensors"

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def info_file(self) -> Path:
        return self.path / "run.json"

    def create(self, config: RunConfig, face: MorphableModel, info: RunInfo) -> None:
        """Begin a run here. Raises ConfigError where there is one already, StorageError where the disk refuses."""
        if self.path.is_file():
            raise ConfigError(f"{self.path} is a file; choose a folder")
        if self.is_occupied():
            raise ConfigError(f"{self.path} is not empty; go on by resuming {self.path}, or choose another folder")
        existed = self.path.is_dir()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}; choose another folder") from error
        try:
            self._write_start_files(config, face, info)
        except BaseException:
            self._undo_create(keep=existed)
            raise

    def is_occupied(self) -> bool:
        """Whether the folder has more files than a job that was killed at its start leaves."""
        if not self.path.is_dir():
            return False
        names = {file.name for file in self.path.iterdir()} - {LOCK}
        if not self.sheets_folder.is_dir() or any(
            self.sheets_folder.iterdir()
        ):  # it is made first, and filled when a job runs
            return bool(names)
        begun = {self.sheets_folder.name, self.face_file.name, self.info_file.name}
        return any(name not in begun and not atomic.is_unfinished(name) for name in names)

    def _write_start_files(self, config: RunConfig, face: MorphableModel, info: RunInfo) -> None:
        """What a run begins with, config.json last: a folder that has it holds a run."""
        try:
            self.sheets_folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}; choose another folder") from error
        atomic.write_file(self.face_file, face.to_bytes())
        self.write_json(self.info_file.name, info.model_dump())
        self.write_json(self.config_file.name, config.model_dump(mode="json"))

    def _undo_create(self, *, keep: bool) -> None:
        """Restore the folder to its state before `create`, so that the same command can be repeated."""
        for made in (self.sheets_folder, self.face_file, self.info_file, self.config_file, self.path / LOCK):
            atomic.remove(made)
        if not keep:
            with suppress(OSError):
                self.path.rmdir()

    def lock(self) -> None:
        """Lock the folder against other processes until `close` or the end of this process.

        Raises ConfigError where another one does. A file system that knows no locks keeps nobody out.
        """
        lock = (self.path / LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(
                f"another process is training in {self.path}; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass
        self._lock = lock

    def info(self) -> RunInfo:
        """What run.json says. Raises CheckpointError where it is damaged."""
        try:
            return RunInfo.model_validate_json(self.info_file.read_bytes())
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{self.info_file} cannot be used ({reason}); start a new run") from None

    def open(self) -> tuple[RunConfig, MorphableModel]:
        """The configuration and face model of the run that is here. Raises ConfigError, FaceModelError."""
        if not self.config_file.is_file():
            raise ConfigError(f"{self.path} holds no run (no config.json); give the folder of an earlier run")
        try:
            config = RunConfig.model_validate_json(self.config_file.read_bytes())
        except ValueError as error:
            raise CheckpointError(
                f"{self.config_file} is damaged: {str(error).splitlines()[0]}; start a new run"
            ) from None
        return config, MorphableModel.load(self.face_file)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, atomically. Raises StorageError."""
        atomic.write_file(self.path / name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """The lines of history.jsonl up to the first torn one, which a killed run may leave."""
        return read_history(self.history_file.path)

    def close(self) -> None:
        """Close the files and release the lock."""
        for file in (self.history_file, self.evaluations_file, self.log_file):
            file.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
