"""Uploads an artifact to a Hugging Face Hub, as one commit."""

from collections.abc import Collection
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.storage.hub_address import HubAddress
from focus_ray.storage.hub_download import LIBRARY
from focus_ray.storage.hub_errors import translate_errors
from focus_ray.storage.manifest import MANIFEST, read_artifact

README = "README.md"
LICENCE = "LICENSE"  # and with any suffix


def push(
    folder: Path, address: HubAddress, kind: str, names: Collection[str], readme: str, message: str, *, private: bool
) -> str:
    """Verify an artifact and upload exactly its files, with a README, as one commit to the main branch.

    The repository is created if there is none. Files of an earlier artifact that this one lacks are deleted.

    Args:
        folder: folder of the artifact.
        address: repository, without a revision.
        kind: kind that the manifest must have.
        names: names that files of the artifact may have.
        readme: content of README.md.
        message: message of the commit.
        private: create a private repository; an existing one must be private.

    Returns:
        URL of the commit.

    Raises:
        CheckpointError: the artifact is damaged, or has a file of another name.
        ConfigError: the address has a revision, the repository holds other things, or is public although `private`.
        NoSuchObject: the owner of the repository does not exist.
        StorageError: the hub refuses access or cannot be reached.
    """
    if address.revision is not None:
        raise ConfigError(f"a {kind} is pushed to the main branch; leave @{address.revision} out")
    files = read_artifact(folder, kind)
    if unknown := sorted(files.keys() - set(names)):
        raise CheckpointError(f"{folder / unknown[0]} is no file of a {kind}; remove it, or export the {kind} again")
    files = {**files, MANIFEST: (folder / MANIFEST).read_bytes(), README: readme.encode()}
    api = huggingface_hub.HfApi(library_name=LIBRARY)
    with translate_errors(address):
        api.create_repo(address.repository, private=private or None, exist_ok=True)
        info = api.model_info(address.repository)
        existing = {one.rfilename for one in info.siblings or []}
        if private and not info.private:
            raise ConfigError(f"{address} exists and is public; make it private on its page, or choose another name")
        others = {name for name in existing - {README, ".gitattributes"} if not name.startswith(LICENCE)}
        if MANIFEST not in existing and others:
            raise ConfigError(f"{address} holds other things than a {kind}; choose another name")
        stale = sorted((existing & set(names)) - files.keys())
        commit = api.create_commit(
            address.repository,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=message,
            parent_commit=info.sha,
        )
        return str(commit.commit_url)
