"""Creates MLflow's database atomically: an interrupted or concurrent creation leaves no partial database."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from focus_ray.storage import atomic

SQLITE = "sqlite:///"


def sqlite_uri(path: Path) -> str:
    """Return the SQLite address of a file, quoted for SQLAlchemy; `sqlite_path` is the inverse.

    MLflow creates the folder of an address without unquoting it. If any character is quoted, the slashes are too, so
    that MLflow takes the address for a file of the working folder and creates no folder.
    """
    name = str(path)
    return SQLITE + (quote(name, safe=" ") if "%" in name or "?" in name else name)


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite address; None for other addresses and for databases in memory."""
    path = unquote(uri.partition("?")[0].removeprefix(SQLITE))
    return Path(path).absolute() if uri.startswith(SQLITE) and path and path != ":memory:" else None


def create_once(path: Path, fill: Callable[[str], None]) -> None:
    """Create the database at `path` if there is none; concurrent callers wait until it exists.

    Args:
        path: file of the database.
        fill: creates a database at the SQLite address that it is given.

    Raises:
        StorageError: the disk cannot be written to.
    """
    if path.exists():
        return
    with atomic.translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("a") as lock:
            with suppress(OSError):  # file system without locks: two processes may create one, the last one is kept
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return
            atomic.remove_stale_partials(path.parent)
            partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
            partial.mkdir()
            try:
                fill(sqlite_uri(partial / path.name))
                atomic.fsync(partial / path.name)
                os.rename(partial / path.name, path)
            finally:
                atomic.remove(partial)
