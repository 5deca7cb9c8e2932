"""Atomic writes: a temporary sibling, flushed to the disk, then renamed into place."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from focus_ray.errors import StorageError

PARTIAL = re.compile(r"\..+\.partial-(\d+)")
RETIRED = re.compile(r"\..+\.retired")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Provide a temporary folder beside `target`, which replaces it when the block ends without an exception.

    Whatever happens in the block (an exception, a full disk, kill -9), `target` is either unchanged or the complete new
    folder. Partial folders that earlier writers left beside it are removed first.

    Yields:
        The empty temporary folder.

    Raises:
        StorageError: the disk cannot be written to.
    """
    target = Path(target).absolute()
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        remove_stale_partials(target.parent)
        partial.mkdir()
        try:
            yield partial
            for path in partial.rglob("*"):
                fsync(path)
            fsync(partial)
            _swap_in(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Provide a path beside `target` for the new file, which replaces it when the block ends without an exception.

    A reader sees the old content or the new one, never a part.

    Yields:
        Path of the temporary file, which the block creates.

    Raises:
        StorageError: the disk cannot be written to.
    """
    target = Path(target).absolute()
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            fsync(partial)
            os.replace(partial, target)
            fsync(target.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_file(target: Path, content: str | bytes) -> None:
    """Write one file atomically: a reader sees the old content or the new one, never a part.

    Raises:
        StorageError: the disk cannot be written to.
    """
    with new_file(target) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def recover(target: Path) -> None:
    """Undo a replacement that was interrupted between its two renames: rename the old folder back to `target`."""
    retired = _retired(target)
    if not target.exists() and retired.is_dir():
        with suppress(FileNotFoundError):
            os.rename(retired, target)


def remove_stale_partials(parent: Path) -> None:
    """Remove the half-written files and folders in `parent` whose writing process no longer runs."""
    for path in parent.iterdir():
        match = PARTIAL.fullmatch(path.name)
        if match and not _is_other_process(int(match[1])):
            remove(path)


def is_unfinished(name: str) -> bool:
    """Return whether a name is that of a temporary (partial or retired) file or folder."""
    return bool(PARTIAL.fullmatch(name) or RETIRED.fullmatch(name))


def remove(path: Path) -> None:
    """Remove a folder, a file or a link (never the target of a link); errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def fsync(path: Path) -> None:
    """Flush a file or folder to the disk; folders on POSIX only."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    """Translate an OSError of the block into a StorageError that names `target`.

    Raises:
        StorageError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot write {target}: {reason}; free space there, or choose another folder"
        raise StorageError(message) from error


def _swap_in(partial: Path, target: Path) -> None:
    """Rename a finished folder to `target`; an existing folder is renamed first and removed last."""
    retired = _retired(target)
    if target.exists() or target.is_symlink():
        remove(retired)
        os.rename(target, retired)
    try:
        os.rename(partial, target)
    except BaseException:
        recover(target)
        raise
    fsync(target.parent)
    remove(retired)


def _retired(target: Path) -> Path:
    return target.with_name(f".{target.name}.retired")


def _is_other_process(pid: int) -> bool:
    """Return whether another running process has this id."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
