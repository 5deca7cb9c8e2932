"""Copy of the run folder in the object store, so that a run survives the loss of its driver's disk."""

import logging
import threading
from pathlib import Path

from focus_ray.errors import ConfigError, FocusRayError
from focus_ray.runtime.callbacks import Callback
from focus_ray.storage import atomic
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store

SYNCED_FILES = (
    "config.json",
    "run.json",
    "face.safetensors",
    "history.jsonl",
    "evaluations.jsonl",
    "log.jsonl",
    "tracking.json",
    "metrics.json",
    "report.html",
)
SYNCED_FOLDERS = ("sheets",)
RAY_SNAPSHOT = "checkpoint_manager_snapshot.json"  # what Ray Train writes of the checkpoints that it was told of
NOT_SYNCED = ("checkpoints/", "model/", RAY_SNAPSHOT, ".")  # the workers' own, and Ray's

logger = logging.getLogger(__name__)


class RunFolderSync(Callback):
    """Copies what has changed in the run folder, in the background, whenever a checkpoint is whole."""

    def __init__(self, folder: Path, store: ObjectStore):
        self.folder = folder
        self.store = store
        self._uploaded: dict[str, tuple[int, int]] = {}  # size and time of each file when it was copied
        self._due = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    def on_save(self, step: int) -> None:
        self._due.set()

    def close(self) -> None:
        """Copy what is left. A store that refuses is told in the log: the run folder itself is whole."""
        self._closing = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            self._due.wait()
            self._due.clear()
            closing = self._closing  # before the copy: what was written until then is in it
            try:
                self._copy()
            except FocusRayError as error:
                logger.warning("the copy of the run folder in the store is behind: %s", error)

    def _copy(self) -> None:
        for path in self._files():
            status = path.stat()
            key, version = path.relative_to(self.folder).as_posix(), (status.st_size, status.st_mtime_ns)
            if self._uploaded.get(key) != version:
                self.store.upload(path, key)
                self._uploaded[key] = version

    def _files(self) -> list[Path]:
        """run.json last: what has it is a run."""
        found = [path for name in SYNCED_FOLDERS for path in sorted((self.folder / name).glob("*"))]
        found += [self.folder / name for name in reversed(SYNCED_FILES)]
        whole = (path for path in found if path.is_file() and not atomic.is_unfinished(path.name))
        return sorted(whole, key=lambda path: path.name == "run.json")


def restore_run_dir(uri: str, out: Path | None) -> Path:
    """The run folder of a run that was mirrored to a store, as a folder of this machine: `out`, else runs/NAME.

    Raises ConfigError where there is no run at `uri` or something else at `out`, StorageError where the store refuses.
    """
    store = open_store(uri)
    name = str(store).rstrip("/").rpartition("/")[2]
    folder = out or Path("runs") / name
    if folder.exists() and any(folder.iterdir()):
        advice = f"go on by resuming {folder}, or " if (folder / "config.json").is_file() else ""
        raise ConfigError(f"{folder} is not empty; {advice}choose another folder")
    keys = [entry.key for entry in store.list() if not entry.key.startswith(NOT_SYNCED)]
    if "run.json" not in keys or "config.json" not in keys:
        raise ConfigError(f"{store} holds no run; give the storage of an earlier run with the run's name behind it")
    for key in sorted(keys, key=lambda each: each == "config.json"):  # last: a folder that has it holds a run
        store.download(key, folder / key)
    return folder
