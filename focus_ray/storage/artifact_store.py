"""Artifacts in an object store: files are stored first and the manifest last; deletion starts with the manifest.

A local artifact is written by renaming a complete folder into place: a local folder without a manifest is damaged. In a
bucket, a folder without a manifest is an incomplete upload and is ignored.
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
    """Store an artifact in place of what is at `key`.

    Args:
        store: the object store.
        key: folder of the artifact in the store.
        fill: writes the artifact to the local folder that it is given.

    Raises:
        StorageError: the disk or the store fails.
    """
    if isinstance(store, LocalStore):
        fill(store.path(key))
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        folder = Path(scratch) / "folder"
        fill(folder)
        upload(store, folder, key)


def upload(store: ObjectStore, folder: Path, key: str) -> None:
    """Store a local artifact in place of what is at `key`; readers see all of it or none.

    Raises:
        StorageError: the disk or the store fails.
    """
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
    """Copy an artifact to a local folder and verify it; an existing folder is replaced only if that succeeds.

    Args:
        store: the object store.
        key: folder of the artifact in the store.
        folder: local folder to write.
        kind: kind that the manifest must have.

    Raises:
        CheckpointError: the artifact is absent, damaged or of another kind.
        StorageError: the disk or the store fails.
    """
    with atomic.new_folder(folder) as partial, _name_in_errors(partial, f"{store}/{key}"):
        _download(store, key, partial, kind)
        verify_artifact(partial, kind)


@contextmanager
def open_folder(store: ObjectStore, key: str, kind: str) -> Iterator[Path]:
    """Provide an artifact as a local folder: its own folder, or a temporary copy that is removed after the block.

    Args:
        store: the object store.
        key: folder of the artifact in the store.
        kind: kind that the manifest must have.

    Yields:
        The folder, not yet verified. CheckpointErrors of the block about a copy name its location in the store.

    Raises:
        CheckpointError: the store has no such artifact or lacks a file of it.
        StorageError: the disk or the store fails.
    """
    if isinstance(store, LocalStore):
        yield store.path(key)
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch, _name_in_errors(Path(scratch), f"{store}/{key}"):
        _download(store, key, Path(scratch), kind)
        yield Path(scratch)


def list_artifacts(store: ObjectStore) -> list[str]:
    """List the artifacts directly in a store, sorted; of a local store, every folder, damaged ones included."""
    if isinstance(store, LocalStore):
        return sorted(path.name for path in _local_folders(store))
    return sorted(_complete_keys([entry.key for entry in store.list()]))


def list_incomplete(store: ObjectStore) -> list[str]:
    """List the incomplete uploads directly in a store: folders without a manifest. A local store has none."""
    if isinstance(store, LocalStore):
        return []
    keys = [entry.key for entry in store.list()]
    return sorted({key.partition("/")[0] for key in keys if "/" in key} - _complete_keys(keys))


def delete(store: ObjectStore, key: str) -> None:
    """Delete an artifact, if there is one, its manifest first.

    Raises:
        StorageError: the disk or the store fails.
    """
    if isinstance(store, LocalStore):
        folder = store.path(key)
        store.delete([f"{key}/{MANIFEST}"])
        atomic.remove(folder)
        return
    keys = [entry.key for entry in store.list(key)]
    store.delete(sorted(keys, key=lambda each: each != f"{key}/{MANIFEST}"))


def _download(store: ObjectStore, key: str, folder: Path, kind: str) -> None:
    """Download the manifest and the files that it lists; other files are left over from an earlier upload."""
    try:
        store.download(f"{key}/{MANIFEST}", folder / MANIFEST)
        for name in read_manifest(folder, kind):
            store.download(f"{key}/{name}", folder / name)
    except NoSuchObject as error:
        raise CheckpointError(f"{store}/{key} is not a complete {kind}: {error}") from None


@contextmanager
def _name_in_errors(copy: Path, location: str) -> Iterator[None]:
    """Replace the path of a temporary copy in errors by its location in the store."""
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
