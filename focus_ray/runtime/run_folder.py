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
    """Name of a run and the storage of its checkpoints. Written once."""

    schema_version: Literal[1] = 1
    run_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    name: str
    storage: str | None = None  # the object store of its checkpoints; None: the run folder itself
    experiment: str = "focus"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class RunFolder:
    """Files of one run. All but the *.jsonl files are written atomically.

    Args:
        path: the folder.
        keep: number of newest checkpoints to keep.
    """

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
        """Create the folder of a new run and lock it.

        Args:
            config: written to config.json.
            face: face model that is fitted, written to face.safetensors.
            info: written to run.json.

        Raises:
            ConfigError: the path is a file, the folder is not empty, or another process trains in it.
            StorageError: the disk cannot be written.
        """
        self.check_free()
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

    def check_free(self) -> None:
        """Check that a new run can be created in the folder.

        Raises:
            ConfigError: the path is a file, or the folder is not empty.
        """
        if self.path.is_file():
            raise ConfigError(f"{self.path} is a file; choose a folder")
        if self.is_occupied():
            raise ConfigError(f"{self.path} is not empty; resume {self.path}, or choose another folder")

    def is_occupied(self) -> bool:
        """Return whether the folder has files other than those of a job that was killed at its start."""
        if not self.path.is_dir():
            return False
        names = {file.name for file in self.path.iterdir()} - {LOCK}
        # sheets/ is created first, and filled once a job runs.
        if not self.sheets_folder.is_dir() or any(self.sheets_folder.iterdir()):
            return bool(names)
        begun = {self.sheets_folder.name, self.face_file.name, self.info_file.name}
        return any(name not in begun and not atomic.is_unfinished(name) for name in names)

    def _write_start_files(self, config: RunConfig, face: MorphableModel, info: RunInfo) -> None:
        """Write the first files of a run, config.json last: it marks a complete run folder."""
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

        A file system without locks is used without one.

        Raises:
            ConfigError: another process holds the lock.
        """
        lock = (self.path / LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(
                f"another process is training in {self.path}; wait for it to finish, or choose another folder"
            ) from None
        except OSError:
            pass
        self._lock = lock

    def info(self) -> RunInfo:
        """Read run.json.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        try:
            return RunInfo.model_validate_json(self.info_file.read_bytes())
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{self.info_file} cannot be used ({reason}); start a new run") from None

    def open(self) -> tuple[RunConfig, MorphableModel]:
        """Read the configuration and the face model of the run.

        Raises:
            ConfigError: the folder holds no run.
            CheckpointError: config.json is damaged.
            FaceModelError: the face model is damaged.
        """
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
        """Write a JSON file, atomically.

        Args:
            name: file name in the folder.
            content: JSON value without NaN.

        Raises:
            StorageError: the disk cannot be written.
        """
        atomic.write_file(self.path / name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Read history.jsonl up to the first incomplete line, which a killed run may leave."""
        return read_history(self.history_file.path)

    def close(self) -> None:
        """Close the files and release the lock."""
        for file in (self.history_file, self.evaluations_file, self.log_file):
            file.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
