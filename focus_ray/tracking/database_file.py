"""Creates MLflow's database atomically: an interrupted or concurrent creation leaves no half of one."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from focus_ray.storage import atomic

SQLITE = "sqlite:///"


def sqlite_uri(path: Path) -> str:
    """The SQLite address of a file, quoted as SQLAlchemy reads it; `sqlite_path` is its inverse.

    MLflow makes the folder of an address without reading the quotes: slashes are quoted too where anything is, so that
    it sees a file of the working folder and makes none.
    """
    name = str(path)
    return SQLITE + (quote(name, safe=" ") if "%" in name or "?" in name else name)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite address; None for other addresses and for databases in memory."""
    path = unquote(uri.partition("?")[0].removeprefix(SQLITE))
    return Path(path).absolute() if uri.startswith(SQLITE) and path and path != ":memory:" else None


def create_once(path: Path, fill: Callable[[str], None]) -> None:
    """Where there is no database at `path`, let `fill` make one (given an address), then give it its name.

    Others who want the same wait until it is there. Raises StorageError where the disk refuses.
    """
    if path.exists():
        return
    with atomic.translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("a") as lock:
            with suppress(OSError):  # a file system without locks: two may make one, the last to end gives its own
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
