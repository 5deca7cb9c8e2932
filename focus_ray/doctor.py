"""Checks an installation and says how to fix its problems; takes seconds and starts no service."""

import http.client
import os
import platform
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numba
import platformdirs
import torch

from focus_ray import __version__, model
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.detectors.weight_files import has_mesh_files
from focus_ray.errors import ClusterError, FocusRayError, StorageError, TrackingError
from focus_ray.model_location import find_model
from focus_ray.runtime import ray_cluster
from focus_ray.storage.open_store import open_store
from focus_ray.tracking.mlflow_tracker import TrackingSettings
from focus_ray.tracking.redaction import redact_secrets
from focus_ray.training.precision import supports_bfloat16

# Packages that the speed, results, records and storage of a run depend on, and the optional back ends.
PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "opencv-python",
    "pillow",
    "pydantic",
    "safetensors",
    "ray",
    "mlflow",
    "pyarrow",
    "boto3",
)
OPTIONAL = ("pytorch3d", "face_alignment", "insightface", "huggingface_hub")
WEB = ("http://", "https://")

RUNS = Path("runs")  # default folder of runs, without --out
TIMEOUT_SECONDS = 3.0  # s, for each request to a server
MIN_FREE_GB = 2.0  # in the folders for temporary files and caches: files of a Ray node, spilled batches, kernels
MIN_OPEN_FILES = 4096  # with fewer, Ray warns: one of its nodes keeps hundreds of connections


@dataclass(frozen=True)
class Issue:
    """A problem of the installation: an error of the type that would end a run, or a warning."""

    about: str
    message: str
    kind: type[FocusRayError] | None = None  # None: a warning

    def record(self) -> dict[str, Any]:
        """Return the problem as JSON values; the exit code of a warning is 0."""
        level, exit_code = ("warning", 0) if self.kind is None else ("error", self.kind.exit_code)
        return {"about": self.about, "level": level, "exit_code": exit_code, "message": self.message}


@dataclass
class IssueLog:
    """Problems found so far."""

    entries: list[Issue] = field(default_factory=list)

    def warn(self, about: str, message: str) -> None:
        self.entries.append(Issue(about, message))

    def fail(self, about: str, error: FocusRayError) -> None:
        self.entries.append(Issue(about, str(error), type(error)))


def examine(storage: str | None = None) -> dict[str, Any]:
    """Examine versions, processors, memory, folders, the default model, the detector, MLflow, Ray and a storage.

    Args:
        storage: folder or s3://bucket/prefix to try for reading and writing; None: not tried.

    Returns:
        Findings by name. "troubles" lists the problems, a record each: about, level (error or warning), exit_code,
        message.
    """
    seen = IssueLog()
    findings = {
        "focus-ray": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": _packages(seen),
        "optional": {name: util.find_spec(name) is not None for name in OPTIONAL},
        "rasterizers": _rasterizers(),
        "cpu": _cpu(),
        "gpus": _gpus(),
        "limits": _limits(seen),
        "cache": _disk_space(seen, "cache", Path(platformdirs.user_cache_dir("focus-ray"))),
        "temporary": _disk_space(seen, "temporary", Path(tempfile.gettempdir())),
        "runs": _runs(seen),
        "model": _shipped_model(seen),
        "detector": _detector(seen),
        "storage": None if storage is None else _storage(seen, storage),
        "mlflow": _mlflow(seen),
        "ray": _ray(seen),
    }
    return {**findings, "troubles": [trouble.record() for trouble in seen.entries]}


def _packages(issues: IssueLog) -> dict[str, str | None]:
    """Installed versions; those outside the ranges that this package requires become problems."""
    installed = {name: _version(name) for name in PACKAGES}
    required = dict(_required_versions())
    for name, version in installed.items():
        if version is None:
            issues.fail("packages", FocusRayError(f"{name} is not installed; reinstall focus-ray: make install"))
        elif name in required and not required[name].contains(version, prereleases=True):
            issues.warn(
                "packages",
                f"{name} is {version}, focus-ray requires {required[name]}; reinstall focus-ray: make install",
            )
    return installed


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _required_versions() -> Iterator[tuple[str, Any]]:
    """Yield name and range of each requirement; none if the package is not installed, as in a job."""
    from packaging.requirements import Requirement

    with suppress(metadata.PackageNotFoundError):
        for requirement in map(Requirement, metadata.requires("focus-ray") or ()):
            if requirement.marker is None:
                yield requirement.name, requirement.specifier


def _rasterizers() -> dict[str, bool]:
    """Whether each back end of focus_ray.focus.render can run here."""
    return {"numba": True, "torch": True, "pytorch3d": util.find_spec("pytorch3d") is not None}


def _cpu() -> dict[str, Any]:
    return {
        "count": os.cpu_count(),
        "usable": ray_cluster.cores(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": supports_bfloat16(torch.device("cpu")),
        "torch_threads": torch.get_num_threads(),
        "numba_threads": numba.config.NUMBA_NUM_THREADS,  # pyright: ignore[reportAttributeAccessIssue]
    }


def _gpus() -> list[dict[str, Any]]:
    """Name, memory in GB and bfloat16 support of each GPU."""
    if not torch.cuda.is_available():
        return []
    found = [(index, torch.cuda.get_device_properties(index)) for index in range(torch.cuda.device_count())]
    return [
        {
            "name": properties.name,
            "memory_gb": _gb(properties.total_memory),
            "bfloat16": supports_bfloat16(torch.device("cuda", index)),
        }
        for index, properties in found
    ]


def _limits(issues: IssueLog) -> dict[str, Any]:
    """Shared memory in GB, which carries batches and tensors between processes, and the limit of open files."""
    limits = {"shared_memory_gb": _shared_memory_gb(), "open_files": _max_open_files()}
    shared, files, needed = limits["shared_memory_gb"], limits["open_files"], _gb(ray_cluster.OBJECT_STORE_BYTES)
    if shared is not None and shared < needed:
        issues.warn(
            "limits",
            f"/dev/shm has {shared} GB, a Ray node uses {needed} GB; give the container more (--shm-size=2g)",
        )
    if files is not None and files < MIN_OPEN_FILES:
        issues.warn("limits", f"the limit of open files is {files}, a Ray node needs more; raise it: ulimit -n 65536")
    return limits


def _shared_memory_gb() -> float | None:
    shared = Path("/dev/shm")
    return _gb(shutil.disk_usage(shared).total) if shared.is_dir() else None


def _max_open_files() -> int | None:
    """Hard limit of open files, up to which Ray raises its own; None: unlimited, or not known on this system."""
    try:
        import resource
    except ImportError:
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def _disk_space(issues: IssueLog, about: str, folder: Path) -> dict[str, Any]:
    free = _gb(shutil.disk_usage(_nearest_existing(folder)).free)
    if free < MIN_FREE_GB:
        issues.warn(about, f"{folder} has {free} GB left; free space, or set another folder (TMPDIR, XDG_CACHE_HOME)")
    return {"folder": str(folder), "free_gb": free}


def _runs(issues: IssueLog) -> dict[str, Any]:
    folder = RUNS.absolute()
    nearest = _nearest_existing(folder)
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    if not writable:
        issues.fail(
            "runs", StorageError(f"cannot write to {folder}; change its permissions, or choose another folder for runs")
        )
    return {"folder": str(folder), "writable": writable, "free_gb": _gb(shutil.disk_usage(nearest).free)}


def _shipped_model(issues: IssueLog) -> dict[str, Any]:
    """Whether the default model is complete and loads: its version, or the error."""
    try:
        return {"verified": True, "version": model.load().version}
    except FocusRayError as error:
        if find_model(None).exists():
            issues.fail("model", error)
        else:
            issues.warn("model", str(error))
        return {"verified": False, "error": str(error)}


def _detector(issues: IssueLog) -> dict[str, Any]:
    """Name, version and verified weight files of the default detector."""
    try:
        name = "mesh" if has_mesh_files() else "haar"
        info = resolve_detector(name).info
    except FocusRayError as error:
        issues.fail("detector", error)
        return {"verified": False, "error": str(error)}
    if name == "haar":
        advice = "install them: python infra/fetch_detectors.py in a checkout"
        issues.warn("detector", f"the weights of the mesh detector are missing, so OpenCV detects faces; {advice}")
    return {"verified": True, "name": info.name, "version": info.version, "files": sorted(info.files)}


def _storage(issues: IssueLog, uri: str) -> dict[str, Any]:
    """Whether an object can be written, listed, read and deleted at a URI."""
    try:
        store = open_store(uri)
        store.check()
    except FocusRayError as error:
        issues.fail("storage", error)
        return {"usable": False}
    return {"place": str(store), "usable": True}


def _mlflow(issues: IssueLog) -> dict[str, Any]:
    """Address of the MLflow server, and its version if it answers. The library is not imported: that takes seconds."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    finding: dict[str, str | None] = {"server": None, "version": None}
    try:
        finding["server"] = str(TrackingSettings().server(RUNS / "any"))
        if named.startswith(WEB):
            finding["version"] = _http_get(named.rstrip("/") + "/version")
    except TrackingError as error:
        issues.fail("mlflow", error)
    except OSError as error:
        advice = "start it, or correct MLFLOW_TRACKING_URI (training runs without it, `focus-ray track` uploads later)"
        issues.fail("mlflow", TrackingError(f"{finding['server']} does not answer ({_reason(error)}); {advice}"))
    return finding


def _ray(issues: IssueLog) -> dict[str, Any]:
    """Address of the named cluster, its version if it answers, and its authentication."""
    address = ray_cluster.cluster_address()
    mode, token = os.environ.get("RAY_AUTH_MODE", "").lower() or None, _has_token()
    finding = {"address": address and redact_secrets(address), "authentication": mode, "token": token}
    if address in (None, "local") and (problem := ray_cluster.socket_problem()) is not None:
        issues.fail("ray", ClusterError(problem))
    if address is None or address in ("auto", "local"):
        return finding
    try:
        finding["version"] = _probe_cluster(address)
    except OSError as error:
        advice = "start the cluster, or correct or unset RAY_ADDRESS"
        issues.fail("ray", ClusterError(f"no cluster at {finding['address']} ({_reason(error)}); {advice}"))
    if mode == "token" and not token:
        advice = "set RAY_AUTH_TOKEN_PATH to the file with the token of the cluster"
        issues.fail("ray", ClusterError(f"RAY_AUTH_MODE is token, but there is no token; {advice}"))
    elif mode == "disabled" or not token:
        advice = "set RAY_AUTH_MODE=token on all nodes of the cluster and here"
        issues.warn(
            "ray", f"anyone who can reach {finding['address']} can run programs there without a token; {advice}"
        )
    return finding


def _has_token() -> bool:
    """Whether Ray would find a token; the token is not checked."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(path).is_file()


def _probe_cluster(address: str) -> str | None:
    """Version that a dashboard (http) reports, or None for another port that answers. Raises OSError."""
    if address.startswith(WEB):
        return _http_get(address.rstrip("/") + "/api/version")
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        place = (parts.hostname or "", parts.port or 0)
    except ValueError:
        raise OSError("the address does not have the form host:port") from None
    socket.create_connection(place, TIMEOUT_SECONDS).close()
    return None


def _http_get(url: str) -> str:
    """First 100 bytes of the answer to GET, as text. Raises OSError if there is no answer."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    try:  # without user and password, which Python would parse as a port and repeat in its message
        with urllib.request.urlopen(f"{scheme}://{place.rpartition('@')[2]}/{path}", timeout=TIMEOUT_SECONDS) as answer:
            return " ".join(answer.read(100).decode(errors="replace").split())
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return "authentication required"
        raise
    except (http.client.HTTPException, ValueError):
        raise OSError("the response is not valid HTTP") from None


def _reason(error: OSError) -> str:
    """Short text of an error, without secrets that an address may contain."""
    reason = getattr(error, "reason", None) or error.strerror or error
    return redact_secrets(" ".join(str(reason).split()))[:100]


def _nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gb(size: int) -> float:
    return round(size / 1e9, 1)
