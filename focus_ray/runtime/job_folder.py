"""Run folder of a build or an evaluation; the same command resumes an interrupted one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from focus_ray.errors import ConfigError, StorageError
from focus_ray.runtime.run_folder import RunFolder, RunInfo
from focus_ray.settings import Settings

ConfigTree = dict[str, Any]
"""Content of a config.json."""


@contextmanager
def acquire_run_dir(
    out: Path,
    config: Settings,
    experiment: str,
    *,
    label: str,
    storage: str | None = None,
    comparable: Callable[[ConfigTree], ConfigTree] = lambda tree: tree,
) -> Iterator[RunFolder]:
    """Create and lock the folder of a job, or lock the existing one of the same job.

    Args:
        out: the folder.
        config: configuration of the job, compared with that of an existing folder.
        experiment: MLflow experiment of the job.
        label: name of the kind of job, for messages.
        storage: store of the job's results; None: the folder.
        comparable: returns what is compared of a config.json; that of an existing folder may be of an earlier version.

    Yields:
        The folder, locked.

    Raises:
        ConfigError: the folder holds other files, or a job with another configuration or storage.
        StorageError: the disk cannot be written.
    """
    folder = RunFolder(out)
    wanted = config.model_dump(mode="json")
    if out.is_file():
        raise ConfigError(f"{out} is a file; choose a folder")
    found = _json(folder.config_file)
    if found is None and folder.is_occupied():
        raise ConfigError(f"{out} is not empty and holds no {label}; choose another folder")
    if found is not None:
        before, now = comparable(found), comparable(wanted)
        differing = ", ".join(sorted(key for key in {*before, *now} if before.get(key) != now.get(key)))
        if differing:
            raise ConfigError(
                f"{out} holds another {label} ({differing} differ); give the options of that {label}, or another folder"
            )
    try:
        folder.sheets_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
    folder.lock()
    try:
        if found is None:
            info = RunInfo(name=out.resolve().name, storage=storage, experiment=experiment)
            folder.write_json(folder.info_file.name, info.model_dump())
            folder.write_json(folder.config_file.name, wanted)
        elif folder.info().storage != storage:
            place = folder.info().storage
            raise ConfigError(
                f"the {label} in {out} keeps its results in {place or 'its own folder'}; give the same storage"
            )
        yield folder
    finally:
        folder.close()


def _json(path: Path) -> ConfigTree | None:
    """Read a JSON object; None if there is no file. Raises ConfigError if it is damaged."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is damaged; choose another folder")
    return content
