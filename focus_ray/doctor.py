"""What an installation has and lacks, said without loading more than it must."""

import os
import platform
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numba
import platformdirs
import torch

from focus_ray import __version__, model
from focus_ray.errors import FocusRayError

# What a run's speed and results depend on, and the optional back ends and detectors.
PACKAGES = ("torch", "numpy", "numba", "opencv-python", "pillow", "pydantic", "safetensors", "ray", "mlflow")
OPTIONAL = ("pytorch3d", "face_alignment", "insightface")


def examine() -> dict[str, Any]:
    """Versions, processors, accelerator, cache folder and free space, rasterizer back ends, the shipped model."""
    cache = Path(platformdirs.user_cache_dir("focus-ray"))
    return {
        "focus-ray": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "optional": {name: util.find_spec(name) is not None for name in OPTIONAL},
        "cpu": {"count": os.cpu_count(), "torch_threads": torch.get_num_threads(), "numba_threads": _numba_threads()},
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cache": {"folder": str(cache), "free_gb": round(shutil.disk_usage(_existing(cache)).free / 1e9, 1)},
        "rasterizers": _rasterizers(),
        "model": _shipped_model(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numba_threads() -> int:
    return numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]


def _rasterizers() -> dict[str, bool]:
    """Back ends of focus_ray.focus.render, and whether they can run here."""
    return {"numba": True, "torch": True, "pytorch3d": util.find_spec("pytorch3d") is not None}


def _shipped_model() -> dict[str, Any]:
    """Whether the model that comes with the package is whole and loads: its version, or what is wrong with it."""
    try:
        return {"verified": True, "version": model.load().version}
    except FocusRayError as error:
        return {"verified": False, "error": str(error)}


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
