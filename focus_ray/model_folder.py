"""Model folders as files: which come with the package, whether one is intact, its card, and its publication."""

import json
from pathlib import Path

from focus_ray.errors import CheckpointError
from focus_ray.licences.model_card import model_card, repository_card
from focus_ray.model import SHIPPED_FACE, describe
from focus_ray.model_location import DEFAULT_MODEL, SHIPPED_MODELS
from focus_ray.settings import Settings
from focus_ray.storage import checkpoint
from focus_ray.storage.hub_address import parse_address, require_client


class ShippedModel(Settings):
    """A model that comes with the package.

    Attributes:
        name: name that is accepted in place of a folder.
        default: whether it is used where no model is named.
        version: version of its weights.
        image_size: side of its crops, px.
        face: name of its face model.
        megabytes: size of its folder, MB.
        folder: its folder.
    """

    name: str
    default: bool
    version: str
    image_size: int
    face: str
    megabytes: float
    folder: str


def list_shipped() -> list[ShippedModel]:
    """List the models that come with this copy of the package; jobs are sent without them.

    Raises:
        CheckpointError: a model.json is damaged.
    """
    present = [(name, folder) for name, folder in SHIPPED_MODELS.items() if folder.is_dir()]
    return [_read_shipped(name, folder) for name, folder in present]


def verify(folder: Path) -> dict[str, int]:
    """Compare every file of a model folder with its manifest, and the face model with its digest.

    Args:
        folder: folder of a model.

    Returns:
        Sizes of the files by name, bytes.

    Raises:
        CheckpointError: a file is missing, altered, malformed or not in the manifest; or the package ships another face
            model than the one that the folder refers to.
        ModelError: this copy of the package lacks the face model that the folder refers to.
        StorageError: the disk cannot be read.
    """
    folder = Path(folder)
    describe(folder, checkpoint.load_model(folder))
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def card(folder: Path) -> str:
    """Return the model card of a folder, as Markdown.

    Raises:
        CheckpointError: the folder is not an intact model.
        ModelError: this copy of the package lacks the face model that the folder refers to.
    """
    return model_card(describe(folder, checkpoint.load_model(folder)))


def push(folder: str | Path, uri: str, *, private: bool = False) -> str:
    """Upload exactly the files of a verified model folder, with its card as README.md, as one commit.

    Args:
        folder: folder of a model.
        uri: hf://owner/name; the repository is created if there is none.
        private: create a private repository; an existing one must be private.

    Returns:
        URL of the commit.

    Raises:
        ConfigError: the address is malformed, the repository holds other things or is public although `private`, or
            huggingface_hub is not installed.
        CheckpointError: the folder is not an intact model.
        ModelError: this copy of the package lacks the face model that the folder refers to.
        NoSuchObject: the owner of the repository does not exist.
        StorageError: the hub refuses access or cannot be reached.
    """
    folder, address = Path(folder), parse_address(uri)
    require_client()
    from focus_ray.storage import hub_upload  # imports huggingface_hub, which takes seconds

    info = describe(folder, checkpoint.load_model(folder))
    readme, message = repository_card(info), f"Model {info.get('version', '')}".strip()
    kind, names = checkpoint.MODEL, checkpoint.MODEL_FILES
    return hub_upload.push(folder, address, kind, names, readme, message, private=private)


def _read_shipped(name: str, folder: Path) -> ShippedModel:
    try:
        info = json.loads((folder / checkpoint.MODEL_DOCUMENT).read_bytes())
        face = info["face"]
        of_the_package = f"{face[SHIPPED_FACE]} of the package" if SHIPPED_FACE in face else face["name"]
        return ShippedModel(
            name=name,
            default=name == DEFAULT_MODEL,
            version=info["version"],
            image_size=info["settings"]["camera"]["image_size"],
            face=of_the_package,
            megabytes=round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1),
            folder=str(folder),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}/{checkpoint.MODEL_DOCUMENT} is damaged ({error}); install again") from None
