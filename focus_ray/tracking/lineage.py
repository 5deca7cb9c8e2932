"""Lineage of a run as tags: code, configuration, face model, packages, hardware; no user names."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch

from focus_ray import __version__
from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.storage.config_digest import config_digest
from focus_ray.tracking.redaction import redact_secrets
from focus_ray.tracking.run_tail import read_json

PACKAGES = ("torch", "numpy", "ray", "mlflow")
_GIT_TIMEOUT = 10  # s


def process_tags() -> dict[str, str]:
    """Return the tags of this process: package, commit, versions, processors, memory, accelerators."""
    tags = {"focus.version": __version__, "python": platform.python_version(), "system": platform.system()}
    tags |= {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return tags | _commit(Path(__file__).resolve().parent) | _hardware()


def run_tags(run_dir: Path) -> dict[str, str]:
    """Return the tags of a run folder: preset, storage, digests of its configuration and of its face model."""
    tags = {}
    config = read_json(run_dir / "config.json")
    if config is not None:
        tags["digest.config"] = config_digest(config)
        if isinstance(config.get("preset"), str):
            tags["preset"] = config["preset"]
    with suppress(FaceModelError):
        tags["digest.face_model"] = MorphableModel.load(run_dir / "face.safetensors").digest
    storage = (read_json(run_dir / "run.json") or {}).get("storage")
    if isinstance(storage, str):
        tags["storage"] = redact_secrets(storage)
    return tags


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(package: Path) -> dict[str, str]:
    """Return the commit of the package's checkout and whether its files differ from it; empty without a checkout."""
    commit = _git(package, "log", "-1", "--format=%H", "--", ".")
    head = _git(package, "rev-parse", "HEAD")
    if not commit or not head:  # no checkout, or that of another project which this package was installed into
        return {}
    changed = _git(package, "status", "--porcelain", "--", ".")
    return {"git.commit": head, "git.dirty": "unknown" if changed is None else str(bool(changed)).lower()}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _hardware() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    tags = {"cpu": _cpu(), "cpu.cores": str(cores), "memory_gb": _memory()}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        tags["gpu"] = ", ".join(names)
    return {name: value for name, value in tags.items() if value}


def _cpu() -> str:
    """Return the model name of the processor, as far as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f}"
    except (AttributeError, ValueError, OSError):
        return ""
