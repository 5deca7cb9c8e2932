"""The user's cache of built face models: one safetensors file per set of parameters."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.settings import Settings

CACHE_VARIABLE = "FOCUS_RAY_CACHE"
_KEY_LENGTH = 16


def cache_folder() -> Path:
    """Return the folder of $FOCUS_RAY_CACHE, or the user's cache folder of focus-ray."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("focus-ray")


def load_or_build(settings: Settings, name: str, build: Callable[[], MorphableModel]) -> MorphableModel:
    """Return the model of these settings from the cache, or build it and store it there.

    Two processes may build at once: each writes its own file and renames it, so a reader only sees complete files.
    A damaged file is replaced; a cache that cannot be written is ignored.

    Args:
        settings: what identifies the model; their JSON is hashed into the file name.
        name: start of the file name.
        build: called when the cache has no readable file.
    """
    key = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:_KEY_LENGTH]
    path = cache_folder() / "faces" / f"{name}-{key}.safetensors"
    with contextlib.suppress(FaceModelError):
        return MorphableModel.load(path)
    model = build()
    with contextlib.suppress(OSError):
        _write(model, path)
    return model


def _write(model: MorphableModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
