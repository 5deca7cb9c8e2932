"""The folder of a run: config, history, metrics, sheets/, checkpoints/, model/, and the face model of its training."""

import fcntl
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from focus_ray.config import RunConfig
from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.storage import atomic
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.tracking.report import read_history

LOCK = ".lock"


class RunFolder:
    """One run's files. Everything but the history is written whole or not at all."""

    def __init__(self, path: Path, keep: int = 3):
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep=keep)
        self._history: TextIO | None = None
        self._lock: TextIO | None = None

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def sheets(self) -> Path:
        return self.path / "sheets"

    @property
    def face(self) -> Path:
        return self.path / "face.safetensors"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    def create(self, config: RunConfig, face: MorphableModel) -> None:
        """Begin a run here. Raises ConfigError where there is one already, StorageError where the disk refuses."""
        if self.path.is_file():
            raise ConfigError(f"{self.path} is a file; choose a folder for --out")
        if self.path.is_dir() and any(file.name != LOCK for file in self.path.iterdir()):
            raise ConfigError(f"{self.path} is not empty; go on with --resume {self.path}, or choose another --out")
        existed = self.path.is_dir()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from error
        try:
            self._fill(config, face)
        except BaseException:
            self._undo_create(keep=existed)
            raise

    def _fill(self, config: RunConfig, face: MorphableModel) -> None:
        """What a run begins with, config.json last: a folder that has it holds a run."""
        try:
            self.sheets.mkdir()
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from error
        atomic.write_file(self.face, face.to_bytes())
        self.write_json(self.config.name, config.model_dump(mode="json"))

    def _undo_create(self, *, keep: bool) -> None:
        """Leave the folder as `create` found it, so that the same command can be tried again."""
        for made in (self.sheets, self.face, self.config, self.path / LOCK):
            atomic.remove(made)
        if not keep:
            with suppress(OSError):
                self.path.rmdir()

    def lock(self) -> None:
        """Keep other processes from training here, until `close` or the end of this process, however it ends.

        Raises ConfigError where another one does. A file system that knows no locks keeps nobody out.
        """
        lock = (self.path / LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(
                f"another process is training in {self.path}; wait for it, or choose another --out"
            ) from None
        except OSError:
            pass
        self._lock = lock

    def open(self) -> tuple[RunConfig, MorphableModel]:
        """The configuration and face model of the run that is here. Raises ConfigError, FaceModelError."""
        if not self.config.is_file():
            raise ConfigError(f"{self.path} holds no run (no config.json); give the folder of an earlier --out")
        try:
            config = RunConfig.model_validate_json(self.config.read_bytes())
        except ValueError as error:
            raise CheckpointError(f"{self.config} is damaged: {str(error).splitlines()[0]}; start a new run") from None
        return config, MorphableModel.load(self.face)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, whole or not at all. Raises StorageError."""
        atomic.write_file(self.path / name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """The lines of history.jsonl up to the first torn one, which a killed run may leave."""
        return read_history(self.path / "history.jsonl")

    def trim_history(self, step: int) -> None:
        """Drop the lines of `step` and later: those steps will be taken again."""
        kept = [line for line in self.history() if line["step"] < step]
        atomic.write_file(self.path / "history.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def append_history(self, line: dict[str, Any]) -> None:
        """Add one line. Raises StorageError."""
        try:
            if self._history is None:
                self._history = (self.path / "history.jsonl").open("a", buffering=1)
            self._history.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.path}/history.jsonl: {error.strerror}; free some space"
            ) from error

    def close(self) -> None:
        """Let go of the history file and the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._history is not None:
            self._history.close()
            self._history = None
