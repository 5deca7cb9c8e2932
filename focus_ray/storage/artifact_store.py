"""Artifacts in an object store: files are stored first and the manifest last; deletion starts with the manifest.

In a folder on this machine they come and go by renaming, so that one without a manifest is damaged. In a bucket, what
has no manifest is an upload that did not end, and counts as nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from focus_ray.errors import CheckpointError, NoSuchObject
from focus_ray.storage import atomic
from focus_ray.storage.manifest import MANIFEST, read_manifest, verify_artifact
from focus_ray.storage.object_store import LocalStore, ObjectStore


def write(store: ObjectStore, key: str, fill: Callable[[Path], None]) -> None:
    """Store what `fill` writes, an artifact at the path that it is given, in place of what is at `key`.

    Raises StorageError.
    """
    if isinstance(store, LocalStore):
        fill(store.path(key))
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        folder = Path(scratch) / "folder"
        fill(folder)
        upload(store, folder, key)


def upload(store: ObjectStore, folder: Path, key: str) -> None:
    """Store an artifact of this machine in place of what is at `key`; whole or not at all. Raises StorageError."""
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    if isinstance(store, LocalStore):
        with atomic.new_folder(store.path(key)) as partial:
            for name in (*names, MANIFEST):
                shutil.copyfile(folder / name, partial / name)
        return
    delete(store, key)
    for name in (*names, MANIFEST):
        store.upload(folder / name, f"{key}/{name}")


def fetch(store: ObjectStore, key: str, folder: Path, kind: str) -> None:
    """Copy an artifact to this machine, verified, in place of what is at `folder`; whole or not at all.

    Raises CheckpointError if there is none, if it is of another kind, or damaged; StorageError.
    """
    with atomic.new_folder(folder) as partial, _name_in_errors(partial, f"{store}/{key}"):
        _download(store, key, partial, kind)
        verify_artifact(partial, kind)


@contextmanager
def open_folder(store: ObjectStore, key: str, kind: str) -> Iterator[Path]:
    """An artifact as a folder of this machine, where it lies or as a copy that is gone after the block.

    It is not yet verified; what the block raises about the copy names the place in the store. Raises CheckpointError
    if the store has no such folder or lacks a file of it, StorageError.
    """
    if isinstance(store, LocalStore):
        yield store.path(key)
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch, _name_in_errors(Path(scratch), f"{store}/{key}"):
        _download(store, key, Path(scratch), kind)
        yield Path(scratch)


def list_artifacts(store: ObjectStore) -> list[str]:
    """The artifacts directly in a store, sorted. On this machine that is every folder, damaged ones included."""
    if isinstance(store, LocalStore):
        return sorted(path.name for path in _local_folders(store))
    return sorted(_complete_keys([entry.key for entry in store.list()]))


def list_incomplete(store: ObjectStore) -> list[str]:
    """The folders directly in a store that have files and no manifest: uploads that did not end. None are local."""
    if isinstance(store, LocalStore):
        return []
    keys = [entry.key for entry in store.list()]
    return sorted({key.partition("/")[0] for key in keys if "/" in key} - _complete_keys(keys))


def delete(store: ObjectStore, key: str) -> None:
    """Delete an artifact, its manifest first. Nothing happens if there is none. Raises StorageError."""
    if isinstance(store, LocalStore):
        folder = store.path(key)
        store.delete([f"{key}/{MANIFEST}"])
        atomic.remove(folder)
        return
    keys = [entry.key for entry in store.list(key)]
    store.delete(sorted(keys, key=lambda each: each != f"{key}/{MANIFEST}"))


def _download(store: ObjectStore, key: str, folder: Path, kind: str) -> None:
    """The manifest and what it lists. What else is below the key is left of an earlier upload."""
    try:
        store.download(f"{key}/{MANIFEST}", folder / MANIFEST)
        for name in read_manifest(folder, kind):
            store.download(f"{key}/{name}", folder / name)
    except NoSuchObject as error:
        raise CheckpointError(f"{store}/{key} is not a whole {kind}: {error}") from None


@contextmanager
def _name_in_errors(copy: Path, location: str) -> Iterator[None]:
    """Errors about a copy tell of the place it is a copy of: the copy will be gone."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(copy), location)) from None


def _complete_keys(keys: list[str]) -> set[str]:
    return {key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}") and key.count("/") == 1}


def _local_folders(store: LocalStore) -> list[Path]:
    if not store.root.is_dir():
        return []
    return [path for path in store.root.iterdir() if path.is_dir() and not atomic.is_unfinished(path.name)]
