"""Run folder of a build or an evaluation; the same command continues an interrupted one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from focus_ray.errors import ConfigError, StorageError
from focus_ray.runtime.run_folder import RunFolder, RunInfo
from focus_ray.settings import Settings


@contextmanager
def acquire_run_dir(
    out: Path, config: Settings, experiment: str, *, label: str, storage: str | None = None
) -> Iterator[RunFolder]:
    """Create the folder of a job, or lock the existing one of the same job.

    label: how the job is called, for messages. storage: where its pieces are kept, if not there. Raises ConfigError
    where something else lies there, StorageError where the disk refuses.
    """
    folder = RunFolder(out)
    wanted = config.model_dump(mode="json")
    if out.is_file():
        raise ConfigError(f"{out} is a file; choose a folder")
    found = _json(folder.config_file)
    if found is None and folder.is_occupied():
        raise ConfigError(f"{out} holds other things than a {label}; choose another folder")
    if found is not None and found != wanted:
        differing = ", ".join(sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key)))
        raise ConfigError(f"{out} holds another {label} ({differing} differ); give its own options, or another folder")
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
                f"the {label} in {out} keeps its pieces in {place or 'its own folder'}; give the same place"
            )
        yield folder
    finally:
        folder.close()


def _json(path: Path) -> dict[str, object] | None:
    """A JSON object; None where there is no file. Raises ConfigError where it is damaged."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is damaged; choose another folder")
    return content
