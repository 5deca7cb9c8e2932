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
RAY_SNAPSHOT = "checkpoint_manager_snapshot.json"  # Ray Train's list of the reported checkpoints
NOT_SYNCED = ("checkpoints/", "model/", RAY_SNAPSHOT, ".")  # written by the workers and by Ray

logger = logging.getLogger(__name__)


class RunFolderSync(Callback):
    """Uploads changed files of the run folder in the background, after each checkpoint."""

    def __init__(self, folder: Path, store: ObjectStore):
        self.folder = folder
        self.store = store
        self._uploaded: dict[str, tuple[int, int]] = {}  # size and mtime (ns) of each file at its upload
        self._due = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="run folder sync", daemon=True)
        self._thread.start()

    def on_save(self, step: int) -> None:
        self._due.set()

    def close(self) -> None:
        """Upload the remaining changes. An error of the store is only logged: the run folder itself is complete."""
        self._closing = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            self._due.wait()
            self._due.clear()
            closing = self._closing  # read before the copy, so that the last copy has all files
            try:
                self._copy()
            except FocusRayError as error:
                logger.warning("the copy of the run folder in the store is out of date: %s", error)

    def _copy(self) -> None:
        for path in self._files():
            status = path.stat()
            key, version = path.relative_to(self.folder).as_posix(), (status.st_size, status.st_mtime_ns)
            if self._uploaded.get(key) != version:
                self.store.upload(path, key)
                self._uploaded[key] = version

    def _files(self) -> list[Path]:
        """Return the files to copy, run.json last: its presence marks a complete run."""
        found = [path for name in SYNCED_FOLDERS for path in sorted((self.folder / name).glob("*"))]
        found += [self.folder / name for name in reversed(SYNCED_FILES)]
        finished = (path for path in found if path.is_file() and not atomic.is_unfinished(path.name))
        return sorted(finished, key=lambda path: path.name == "run.json")


def restore_run_dir(uri: str, out: Path | None) -> Path:
    """Download the copy of a run folder from a store.

    Args:
        uri: the run's prefix in the store: its storage followed by its name.
        out: folder to write; None: runs/NAME.

    Returns:
        The folder.

    Raises:
        ConfigError: there is no run at `uri`, or the folder is not empty.
        StorageError: the store cannot be read, or the disk cannot be written.
    """
    store = open_store(uri)
    name = str(store).rstrip("/").rpartition("/")[2]
    folder = out or Path("runs") / name
    if folder.exists() and any(folder.iterdir()):
        advice = f"resume {folder}, or " if (folder / "config.json").is_file() else ""
        raise ConfigError(f"{folder} is not empty; {advice}choose another folder")
    keys = [entry.key for entry in store.list() if not entry.key.startswith(NOT_SYNCED)]
    if "run.json" not in keys or "config.json" not in keys:
        raise ConfigError(f"{store} holds no run; give the storage of an earlier run followed by /NAME of the run")
    for key in sorted(keys, key=lambda each: each == "config.json"):  # last: it marks a complete run folder
        store.download(key, folder / key)
    return folder
