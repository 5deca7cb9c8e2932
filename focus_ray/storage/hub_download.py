"""Downloads an artifact from a Hugging Face Hub into the client's own cache.

The client keeps files as symbolic links to blobs, and artifacts must not contain such links. So the blobs are
hard-linked into the client's cache for other libraries: HF_HOME/assets/focus-ray/OWNER--NAME/COMMIT.
"""

import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

from focus_ray.errors import CheckpointError, StorageError
from focus_ray.storage import atomic
from focus_ray.storage.hub_address import HubAddress
from focus_ray.storage.hub_errors import is_unreachable, translate_errors
from focus_ray.storage.manifest import MANIFEST, MAX_MANIFEST_BYTES, file_digest, read_manifest, verify_artifact

LIBRARY = "focus-ray"
# Models of the paper's size have some hundreds of MB. More than this is a mistake, or an attack on the disk.
MAX_BYTES = 4 << 30
TIMEOUT = 10.0  # s

logger = logging.getLogger(__name__)


class Listing(NamedTuple):
    """A commit of a repository, and the sizes in bytes of the files that an artifact may have."""

    commit: str
    sizes: dict[str, int]


def fetch(address: HubAddress, kind: str, names: Collection[str]) -> Path:
    """Download the files of an artifact, if the cache lacks them, and verify them.

    Sizes are checked before anything is downloaded; other files of the repository are not downloaded. A copy in the
    cache is used where the hub cannot be reached, and for a commit without asking the hub.

    Args:
        address: repository and revision.
        kind: kind that the manifest must have.
        names: names that files of the artifact may have.

    Returns:
        Folder in the cache; do not write to it.

    Raises:
        CheckpointError: the repository holds no such artifact, a damaged one or one that is too large.
        NoSuchObject: repository or revision do not exist.
        StorageError: the hub refuses access or cannot be reached, or the disk fails.
    """
    with translate_errors(address):
        if address.is_commit and (known := _assets_folder(address, str(address.revision))).is_dir():
            with suppress(CheckpointError):
                verify_artifact(known, kind)
                return known
        listing = _list_files(address, names)
        manifest = _download(address, MANIFEST, offline=listing is None)
        commit = manifest.parent.name
        if listing is not None and commit != listing.commit:
            raise StorageError(f"{address} was changed during the download; try again")
        with _name_in_errors(manifest.parent, address):
            listed = read_manifest(manifest.parent, kind)
        _check_files(address, kind, listed, names, None if listing is None else listing.sizes)
        target = _assets_folder(address, commit)
        if not _is_complete(target, manifest, kind):
            _build(address.at(commit), kind, listed, manifest, target, offline=listing is None)
        return target


def resolve_commit(address: HubAddress, names: Collection[str]) -> HubAddress:
    """Return the address of the commit that a revision names at present.

    Args:
        address: repository and revision.
        names: names that files of the artifact may have.

    Raises:
        CheckpointError: the repository holds no artifact, or one that is too large.
        NoSuchObject: repository or revision do not exist.
        StorageError: the hub refuses access; or it cannot be reached, and the revision is not in the cache.
    """
    if address.is_commit:
        return address
    with translate_errors(address):
        listing = _list_files(address, names)
        return address.at(_download(address, MANIFEST, offline=True).parent.name if listing is None else listing.commit)


def _list_files(address: HubAddress, names: Collection[str]) -> Listing | None:
    """List the files of an artifact and check their sizes; None if the hub cannot be reached and the cache may do."""
    api = huggingface_hub.HfApi(library_name=LIBRARY)
    try:
        info = api.model_info(address.repository, revision=address.revision, files_metadata=True, timeout=TIMEOUT)
    except (HTTPError, OfflineModeIsEnabled) as error:
        cached = huggingface_hub.try_to_load_from_cache(address.repository, MANIFEST, revision=address.revision)
        if not is_unreachable(error) or not isinstance(cached, str):
            raise
        logger.warning("the hub cannot be reached (%s): %s is taken from the cache", type(error).__name__, address)
        return None
    wanted = {MANIFEST, *names}
    sizes: dict[str, Any] = {one.rfilename: one.size for one in info.siblings or [] if one.rfilename in wanted}
    if MANIFEST not in sizes or not isinstance(info.sha, str):
        raise CheckpointError(f"{address} is not a model of focus-ray: it has no {MANIFEST}; give another repository")
    if not all(isinstance(size, int) and size >= 0 for size in sizes.values()):
        raise StorageError(f"the hub does not say how large the files of {address} are; try again later")
    if sizes[MANIFEST] > MAX_MANIFEST_BYTES or sum(sizes.values()) > MAX_BYTES:
        raise CheckpointError(
            f"{address} has {sum(sizes.values()) / 1e9:.1f} GB of model files, more than {MAX_BYTES / 1e9:.1f} GB, "
            f"or a {MANIFEST} of more than {MAX_MANIFEST_BYTES} bytes; give another repository"
        )
    return Listing(info.sha, sizes)


def _check_files(
    address: HubAddress,
    kind: str,
    listed: dict[str, dict[str, Any]],
    names: Collection[str],
    sizes: dict[str, int] | None,
) -> None:
    """Check the files of a manifest against those that an artifact may have and, online, those of the repository."""
    for name, entry in listed.items():
        if name not in names:
            raise CheckpointError(f"{address} lists {name}, which is no file of a {kind}; give another repository")
        if sizes is not None and sizes.get(name) != entry["size"]:
            raise CheckpointError(
                f"{name} of {address} is missing or has another size than its manifest lists; push the {kind} again"
            )


def _download(address: HubAddress, name: str, *, offline: bool, force: bool = False) -> Path:
    """Download a file, unless the cache has it, and return its path: snapshots/COMMIT/NAME."""
    return Path(
        huggingface_hub.hf_hub_download(
            address.repository,
            name,
            revision=address.revision,
            library_name=LIBRARY,
            force_download=force,
            local_files_only=offline,
        )
    )


def _assets_folder(address: HubAddress, commit: str) -> Path:
    namespace = huggingface_hub.cached_assets_path(library_name=LIBRARY, namespace=address.repository).parent
    return namespace / commit


def _is_complete(folder: Path, manifest: Path, kind: str) -> bool:
    """Return whether a folder has the files of a manifest, unaltered."""
    own = folder / MANIFEST
    if not own.is_file() or own.read_bytes() != manifest.read_bytes():
        return False
    try:
        verify_artifact(folder, kind)
    except CheckpointError:
        return False
    return True


def _build(
    address: HubAddress,
    kind: str,
    listed: dict[str, dict[str, Any]],
    manifest: Path,
    target: Path,
    *,
    offline: bool,
) -> None:
    """Download the files of a commit and link them into a folder."""
    files = {MANIFEST: manifest}
    for name, entry in listed.items():
        files[name] = _download(address, name, offline=offline)
        if not offline and file_digest(files[name]) != entry["sha256"]:  # damaged in the cache
            files[name] = _download(address, name, offline=False, force=True)
    with atomic.new_folder(target) as partial, _name_in_errors(partial, address):
        for name, path in files.items():
            _link(path.resolve(), partial / name)
        verify_artifact(partial, kind)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


@contextmanager
def _name_in_errors(copy: Path, address: HubAddress) -> Iterator[None]:
    """Replace the path of a local copy in CheckpointErrors by the address that it was downloaded from."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(copy), str(address))) from None
