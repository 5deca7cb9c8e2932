"""Artifact: a folder of files with a manifest of sizes and SHA-256 sums, written last and verified on every read."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from focus_ray.errors import CheckpointError, ConfigError, StorageError
from focus_ray.storage import atomic

T = TypeVar("T")

SCHEMA = 1
MANIFEST = "manifest.json"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
# A manifest lists a handful of files. Larger files are refused without parsing them.
MAX_MANIFEST_BYTES = 1 << 20


def write_artifact(folder: Path, kind: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files and their manifest to a folder, atomically.

    Args:
        folder: folder to write; an existing one is replaced.
        kind: kind of the artifact, written to the manifest.
        files: (name, content); a generator keeps one file at a time in memory.

    Raises:
        StorageError: the disk cannot be written to.
    """
    with atomic.new_folder(folder) as partial:
        listed = {}
        for name, content in files:
            (partial / name).write_bytes(content)
            listed[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        manifest = {"schema": SCHEMA, "kind": kind, "files": listed}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read_artifact(folder: Path, kind: str) -> dict[str, bytes]:
    """Read the files of an artifact after comparing them with its manifest.

    Args:
        folder: folder of the artifact.
        kind: kind that the manifest must have.

    Returns:
        File name to content.

    Raises:
        CheckpointError: a file is missing, truncated, altered or not in the manifest, or the manifest is missing,
            damaged, or of another schema or kind.
        StorageError: the disk cannot be read.
    """
    return _map_files(folder, kind, _read_verified)


def verify_artifact(folder: Path, kind: str) -> None:
    """Compare an artifact of any size with its manifest, reading its files in blocks.

    Args:
        folder: folder of the artifact.
        kind: kind that the manifest must have.

    Raises:
        CheckpointError: see `read_artifact`.
        StorageError: the disk cannot be read.
    """
    _map_files(folder, kind, _verify_file)


def _map_files(folder: Path, kind: str, check: Callable[[Path, dict[str, Any]], T]) -> dict[str, T]:
    folder = Path(folder).absolute()
    atomic.recover(folder)
    try:
        listed = read_manifest(folder, kind)
        _reject_unlisted(folder, listed)
        return {name: check(folder / name, entry) for name, entry in listed.items()}
    except OSError as error:
        message = f"cannot read {folder}: {error.strerror or error}; check the disk and the permissions"
        raise StorageError(message) from error


def check_replaceable(folder: Path, kind: str) -> None:
    """Check that `folder` may be replaced: it must be absent, empty, or an artifact of this kind.

    Raises:
        ConfigError: `folder` is a file, or holds other files.
        StorageError: the disk cannot be read.
    """
    folder = Path(folder).absolute()
    if not folder.exists():
        return
    try:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is a file; choose a folder")
        if any(folder.iterdir()):
            _reject_unlisted(folder, read_manifest(folder, kind))
    except CheckpointError:
        raise ConfigError(f"{folder} holds other things than a {kind}; choose another folder") from None
    except OSError as error:
        message = f"cannot read {folder}: {error.strerror or error}; check the disk and the permissions"
        raise StorageError(message) from error


def read_manifest(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Read the entries of a manifest, without comparing them with the files.

    Args:
        folder: folder of the artifact.
        kind: kind that the manifest must have.

    Returns:
        File name to "sha256" (hex) and "size" (bytes).

    Raises:
        CheckpointError: the manifest is missing, damaged, or of another schema or kind.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"no {kind} at {folder}; give the path of an existing {kind} folder")
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {MANIFEST}, so it is not a complete {kind}; {_hint(folder)}")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes; {_hint(folder)}")
    try:
        manifest = json.loads(path.read_bytes())
        schema, found, listed = manifest["schema"], manifest["kind"], manifest["files"]
        well_formed = all(FILE_NAME.fullmatch(name) and _is_entry(entry) for name, entry in listed.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path} is damaged; {_hint(folder)}") from None
    if schema != SCHEMA:
        message = f"{path} has schema {schema!r}, this version reads {SCHEMA}; use the version that wrote it"
        raise CheckpointError(message)
    if found != kind:
        raise CheckpointError(f"{folder} is a {found!r}, not a {kind}; {_hint(folder)}")
    if not well_formed:
        raise CheckpointError(f"{path} is damaged; {_hint(folder)}")
    return listed


def _is_entry(entry: Any) -> bool:
    return isinstance(entry["sha256"], str) and type(entry["size"]) is int


def _reject_unlisted(folder: Path, listed: dict[str, dict[str, Any]]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST and path.name not in listed:
            raise CheckpointError(
                f"{path} is not in the manifest; remove it if you put it there, else use another copy"
            )


def _read_verified(path: Path, entry: dict[str, Any]) -> bytes:
    _check_size(path, entry)
    content = path.read_bytes()
    _check_digest(path, entry, hashlib.sha256(content).hexdigest())
    return content


def _verify_file(path: Path, entry: dict[str, Any]) -> None:
    _check_size(path, entry)
    _check_digest(path, entry, file_digest(path))


def file_digest(path: Path) -> str:
    """Compute the SHA-256 (hex) of a file, reading it in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_size(path: Path, entry: dict[str, Any]) -> None:
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"{path} is missing; {_hint(path.parent)}")
    size = path.stat().st_size
    if size != entry["size"]:
        message = f"{path} has {size} bytes, its manifest lists {entry['size']}; {_hint(path.parent)}"
        raise CheckpointError(message)


def _check_digest(path: Path, entry: dict[str, Any], digest: str) -> None:
    if digest != entry["sha256"]:
        raise CheckpointError(f"{path} was altered after it was written; {_hint(path.parent)}")


def _hint(folder: Path) -> str:
    """Return advice for a folder that cannot be used."""
    if (folder / "model" / MANIFEST).is_file():
        return f"did you mean {folder / 'model'}?"
    return "use another copy or an earlier checkpoint"
