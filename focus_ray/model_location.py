"""Where a model is: a folder, the name of a model that comes with the package, or hf://owner/name[@revision]."""

from pathlib import Path

from focus_ray.errors import ConfigError
from focus_ray.storage.hub_address import PREFIX, parse_address, require_client
from focus_ray.storage.object_store import SCHEME

_PACKAGE = Path(__file__).resolve().parent

SHIPPED_MODELS = {"portrait": _PACKAGE / "pretrained_portrait", "embedded": _PACKAGE / "pretrained"}
"""Folder of each model that comes with the package, by its name."""

DEFAULT_MODEL = "portrait"
"""Name of the shipped model that is used where none is named."""


def find_model(location: str | Path | None) -> Path:
    """Return the folder of a model; one on a Hugging Face Hub is downloaded into the cache of huggingface_hub.

    Args:
        location: a name of SHIPPED_MODELS, a folder, or hf://owner/name[@revision]; a Path is always a folder.
            None: the default model.

    Returns:
        The folder, which need not exist.

    Raises:
        ConfigError: the location has another scheme, or huggingface_hub is not installed.
        CheckpointError: the repository holds no model, a damaged one or one that is too large.
        NoSuchObject: repository or revision do not exist.
        StorageError: the hub refuses access or cannot be reached, or the disk fails.
    """
    if location is None:
        return SHIPPED_MODELS[DEFAULT_MODEL]
    if isinstance(location, Path):
        return location
    if location.startswith(PREFIX):
        return fetch_from_hub(location)
    if scheme := SCHEME.match(location):
        raise ConfigError(
            f"a model cannot be read from {scheme[1]}: here; give a folder, hf://owner/name, or a name: "
            + ", ".join(SHIPPED_MODELS)
        )
    return SHIPPED_MODELS.get(location, Path(location))


def find_commit(uri: str) -> str:
    """Return the URI of the commit that a URI names at present, hf://owner/name@COMMIT.

    Args:
        uri: hf://owner/name[@revision].

    Raises:
        ConfigError: the address is malformed, or huggingface_hub is not installed.
        CheckpointError: the repository holds no model, or one that is too large.
        NoSuchObject: repository or revision do not exist.
        StorageError: the hub refuses access or cannot be reached.
    """
    address = parse_address(uri)
    require_client()
    from focus_ray.storage import checkpoint, hub_download

    return str(hub_download.resolve_commit(address, checkpoint.MODEL_FILES))


def fetch_from_hub(uri: str) -> Path:
    """Download a model, if the cache lacks it, and verify it.

    Args:
        uri: hf://owner/name[@revision].

    Returns:
        Folder in the cache; do not write to it.

    Raises:
        ConfigError: the address is malformed, or huggingface_hub is not installed.
        CheckpointError: the repository holds no model, a damaged one or one that is too large.
        NoSuchObject: repository or revision do not exist.
        StorageError: the hub refuses access or cannot be reached, or the disk fails.
    """
    address = parse_address(uri)
    require_client()
    from focus_ray.storage import checkpoint, hub_download  # they import torch and huggingface_hub, which take seconds

    return hub_download.fetch(address, checkpoint.MODEL, checkpoint.MODEL_FILES)
