"""RUN/tracking.json: how much of a run MLflow has. Written atomically, by one process at a time."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TextIO

from focus_ray.errors import TrackingError
from focus_ray.storage import atomic

STATE_FILE = "tracking.json"
LOCK = ".tracking.lock"
SCHEMA = 1
LOCK_TIMEOUT = 5.0  # s


@dataclass
class SyncState:
    """What MLflow has of a run. If the file is lost, its content is read from the server or the data is sent again."""

    mlflow_run: str | None = None
    steps: int = 0  # steps taken whose figures were sent
    evaluated: int = -1  # the step of the last evaluation that was sent
    figures: str = ""  # digest of the metrics.json whose figures were sent
    status: str = ""  # status of the ended run that was sent
    model: str = ""  # name and number of the registered model version
    artifacts: dict[str, str] = field(default_factory=dict)  # path in the run folder to digest
    lineage: dict[str, str] = field(default_factory=dict)  # of the process that trained

    def for_run(self, mlflow_run: str) -> "SyncState":
        """Return this state, or an initial one if the run has another id in MLflow."""
        return self if self.mlflow_run == mlflow_run else SyncState(mlflow_run=mlflow_run, lineage=self.lineage)


def read(run_dir: Path) -> SyncState:
    """Read the state of a run; the initial one if the file is missing or damaged."""
    try:
        content = json.loads((run_dir / STATE_FILE).read_bytes())
        known = {item.name: content[item.name] for item in fields(SyncState) if item.name in content}
        state = SyncState(**known)
    except (OSError, ValueError, TypeError, RecursionError):
        return SyncState()
    fresh = SyncState()
    alike = all(isinstance(value, type(getattr(fresh, name))) for name, value in known.items() if name != "mlflow_run")
    return state if alike and isinstance(state.mlflow_run, str | None) else fresh


def write(run_dir: Path, state: SyncState) -> None:
    """Write the state of a run.

    Raises:
        StorageError: the disk cannot be written to.
    """
    atomic.write_file(run_dir / STATE_FILE, json.dumps({"schema": SCHEMA, **asdict(state)}, indent=1) + "\n")


@contextmanager
def sync_lock(run_dir: Path) -> Iterator[None]:
    """Hold the exclusive lock for sending this run.

    Raises:
        TrackingError: another process holds the lock for LOCK_TIMEOUT, or the folder cannot be written to.
    """
    try:
        lock = (run_dir / LOCK).open("a")
    except OSError as error:
        raise TrackingError(f"cannot write to {run_dir}: {error.strerror}; give a folder of a run") from None
    with lock:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise TrackingError(f"another process is sending {run_dir} to MLflow; wait until it has finished")
            time.sleep(0.1)
        yield


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # file system without locks: no mutual exclusion
        pass
    return True
