"""Source of an endpoint's model and prior: resolved once for all replicas, fetched and verified on their nodes.

None                                 the default model of the package, or the prior of the model
NAME                                 a model that comes with the package, see model_location
FOLDER, s3://bucket/prefix/model     an artifact on this machine or in an object store
hf://owner/name[@revision]           a model on a Hugging Face Hub
models:/NAME@ALIAS, models:/NAME/3   a registered model of the MLflow server in MLFLOW_TRACKING_URI
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from focus_ray.errors import CheckpointError, ConfigError, NoSuchObject, StorageError
from focus_ray.model_location import DEFAULT_MODEL, SHIPPED_MODELS, fetch_from_hub, find_commit, find_model
from focus_ray.storage import artifact_store, atomic
from focus_ray.storage.hub_address import PREFIX as HUB_PREFIX
from focus_ray.storage.manifest import MANIFEST, file_digest, read_manifest, verify_artifact
from focus_ray.storage.object_store import SCHEME, LocalStore, ObjectStore
from focus_ray.storage.open_store import open_store

if TYPE_CHECKING:
    from focus_ray.inference import Reconstructor
    from focus_ray.tracking.mlflow_client import MlflowServer
else:  # torch takes seconds to import: annotations must not need it
    Reconstructor = MlflowServer = Any

NO_PRIOR = "none"

_REGISTERED = re.compile(r"models:/([^/@:]+)(?:@([\w-]+)|/(\d+))")
_RUNS = Path("runs")  # default folder of runs and their database
_MAX_CACHED = 4  # most recently used models in a cache; the same for priors


@dataclass(frozen=True)
class ModelSource:
    """One fixed version of a model, for all replicas."""

    kind: ClassVar[str] = "model"
    uri: str | None  # place without aliases; None: the default model of the package
    digest: str | None = None  # SHA-256 of its manifest; None for the default model
    registered: str | None = None  # NAME/VERSION, for a model of the registry


@dataclass(frozen=True)
class PriorSource:
    """One fixed version of a misfit prior, for all replicas."""

    kind: ClassVar[str] = "prior"
    uri: str | None  # place; "none"; None: the default of the model
    digest: str | None = None  # SHA-256 of its manifest; None for "none" and the default
    registered: ClassVar[str | None] = None


def resolve(uri: str | None) -> ModelSource:
    """Resolve a model to its present version; an alias, a link or a folder may change later.

    Args:
        uri: folder, name of a model of the package, s3://bucket/prefix/model, hf://owner/name[@revision],
            models:/NAME@ALIAS or models:/NAME/VERSION; None: the default model of the package.

    Raises:
        ConfigError: the URI is not of a supported kind, or huggingface_hub is not installed.
        CheckpointError: there is no complete model at the URI.
        StorageError: the place cannot be read.
        TrackingError: the model registry cannot be reached.
    """
    if uri is None or uri == DEFAULT_MODEL:
        return ModelSource(None)
    if uri.startswith(HUB_PREFIX):
        return _resolve_on_hub(uri)
    if uri.startswith("models:"):
        return _resolve_registered(uri)
    return ModelSource(*_resolve_stored(str(SHIPPED_MODELS.get(uri, uri)), "model"))


def resolve_prior(uri: str | None) -> PriorSource:
    """Resolve a misfit prior to its present version.

    Args:
        uri: folder or s3://bucket/prefix/prior; "none"; None: the default of the model.

    Raises:
        ConfigError: the URI is not of a supported kind.
        CheckpointError: there is no complete prior at the URI.
        StorageError: the place cannot be read.
    """
    return PriorSource(uri) if uri is None or uri == NO_PRIOR else PriorSource(*_resolve_stored(uri, "prior"))


def fetch_model(source: ModelSource, cache: Path) -> Path:
    """Fetch a model to this machine and verify it.

    Args:
        source: resolved model.
        cache: folder of fetched models, may be shared by the replicas of a machine; the most recently used are kept.

    Returns:
        A folder for `focus_ray.model.load`.

    Raises:
        CheckpointError: the model is damaged, or was replaced after it was resolved.
        StorageError: the place cannot be read, or the cache cannot be written.
        TrackingError: the model registry cannot be reached.
    """
    return find_model(None) if source.uri is None else _ensure_cached(source, cache)


def fetch_prior(source: PriorSource, cache: Path) -> str | Path | None:
    """Fetch a misfit prior to this machine and verify it.

    Args:
        source: resolved prior.
        cache: folder of fetched priors.

    Returns:
        The argument of `focus_ray.prior.select_prior`: a folder, "none", or None for the default.

    Raises:
        CheckpointError: the prior is damaged, or was replaced after it was resolved.
        StorageError: the place cannot be read, or the cache cannot be written.
    """
    return source.uri if source.digest is None else _ensure_cached(source, cache)


def load_reconstructor(source: ModelSource, prior: PriorSource, cache: Path) -> Reconstructor:
    """Fetch and load a model with its misfit prior; the prior corrects only results that it was measured for.

    Args:
        source: resolved model.
        prior: resolved prior.
        cache: folder of fetched models and priors.

    Raises:
        CheckpointError: model or prior is damaged, or was replaced after it was resolved.
        FaceModelError: the prior belongs to another face model.
        StorageError: a place cannot be read, or the cache cannot be written.
        TrackingError: the model registry cannot be reached.
    """
    from focus_ray import model as models
    from focus_ray.inference import Reconstructor
    from focus_ray.prior import select_prior

    model = models.load(fetch_model(source, cache))
    correcting = select_prior(fetch_prior(prior, cache), model)
    return Reconstructor(model, prior=correcting, require_prior=False)


def registry() -> MlflowServer:
    """Connect to the MLflow server in MLFLOW_TRACKING_URI, else to the database in ./runs.

    Raises:
        ConfigError: neither exists.
    """
    from focus_ray.tracking.mlflow_tracker import TrackingSettings

    if not os.environ.get("MLFLOW_TRACKING_URI") and not (_RUNS / "mlflow.db").is_file():
        raise ConfigError("models:/ needs a model registry; set MLFLOW_TRACKING_URI to its MLflow server")
    return TrackingSettings().server(_RUNS / "endpoint")


def _resolve_stored(uri: str, kind: str) -> tuple[str, str]:
    """Return the place of an artifact and the digest of its manifest."""
    places = f"a folder or s3://bucket/prefix/{kind}"
    places += ", hf://owner/name or models:/NAME@ALIAS" if kind == "model" else ""
    if not uri.strip() or "\0" in uri:
        raise ConfigError(f"the place of the {kind} is empty or has a NUL byte; give {places}")
    scheme = SCHEME.match(uri)
    if scheme is not None and scheme[1] != "s3":
        raise ConfigError(f"a {kind} cannot be fetched from {scheme[1]}: URIs; give {places}")
    place = str(Path(uri).resolve()) if scheme is None else uri.rstrip("/")
    with _manifest(*_store_and_key(place), kind) as manifest:
        return place, file_digest(manifest)


def _resolve_registered(uri: str) -> ModelSource:
    match = _REGISTERED.fullmatch(uri)
    if match is None:
        raise ConfigError(
            f"{uri[:80]!r} is not the URI of a registered model; give models:/NAME@ALIAS or models:/NAME/VERSION"
        )
    name, alias, number = match.groups()
    server = registry()
    number = number or server.version_by_alias(name, alias)
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        _download_manifest(server, name, number, Path(scratch))
        return ModelSource(f"models:/{name}/{number}", file_digest(Path(scratch) / MANIFEST), f"{name}/{number}")


def _resolve_on_hub(uri: str) -> ModelSource:
    """Fetch the present commit of a repository: its manifest is part of the model."""
    commit = find_commit(uri)
    return ModelSource(commit, file_digest(fetch_from_hub(commit) / MANIFEST))


def _store_and_key(place: str) -> tuple[ObjectStore, str]:
    parent, _, key = place.rpartition("/")
    return open_store(parent or "/"), key


@contextmanager
def _manifest(store: ObjectStore, key: str, kind: str) -> Iterator[Path]:
    """Yield the valid manifest of an artifact as a local file. Raises CheckpointError, StorageError."""
    if isinstance(store, LocalStore):
        read_manifest(store.path(key), kind)
        yield store.path(key) / MANIFEST
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch, _rewrite_errors(Path(scratch), f"{store}/{key}"):
        try:
            store.download(f"{key}/{MANIFEST}", Path(scratch) / MANIFEST)
        except NoSuchObject:
            raise CheckpointError(f"no {kind} at {store}/{key}; give the place of a complete {kind}") from None
        read_manifest(Path(scratch), kind)
        yield Path(scratch) / MANIFEST


@contextmanager
def _rewrite_errors(copy: Path, place: str) -> Iterator[None]:
    """Replace the path of a temporary copy in errors by the place that it was copied from."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(copy), place)) from None


def _ensure_cached(source: ModelSource | PriorSource, cache: Path) -> Path:
    assert source.uri is not None
    assert source.digest is not None
    target = Path(cache).absolute() / f"{source.kind}-{source.digest[:24]}"
    with _file_lock(target):
        if not _is_complete(target, source):
            _fetch(source, target)
        with atomic.translate_os_errors(target):
            os.utime(target)
    _evict_old(target.parent, source.kind)
    return target


def _fetch(source: ModelSource | PriorSource, target: Path) -> None:
    assert source.uri is not None
    if source.uri.startswith(HUB_PREFIX):
        store, key = _store_and_key(str(fetch_from_hub(source.uri)))  # of a commit: this machine may have it
        artifact_store.fetch(store, key, target, source.kind)
    elif source.registered is None:
        store, key = _store_and_key(source.uri)
        artifact_store.fetch(store, key, target, source.kind)
    else:
        name, _, number = source.registered.rpartition("/")
        _fetch_registered(name, number, target)
    if file_digest(target / MANIFEST) != source.digest:
        atomic.remove(target)
        raise CheckpointError(f"{source.uri} was replaced after the endpoint was deployed; deploy it again")


def _fetch_registered(name: str, number: str, target: Path) -> None:
    """Fetch the model folder from MLflow's artifacts; other artifacts, code above all, are neither fetched nor run."""
    server = registry()
    with atomic.new_folder(target) as partial, _rewrite_errors(partial, f"models:/{name}/{number}"):
        location, folder = _download_manifest(server, name, number, partial)
        server.download(location, [f"{folder}/{file}" for file in read_manifest(partial, "model")], partial)
        verify_artifact(partial, "model")


def _download_manifest(server: MlflowServer, name: str, number: str, scratch: Path) -> tuple[str, str]:
    """Download the manifest of a registered model; return the URI of its artifacts and the model folder in them."""
    from focus_ray.tracking.mlflow_client import DETECTOR_FOLDER

    location = server.location(name, number)
    folders = server.list_folders(location, "artifacts")  # MLflow keeps the files that a model was made from here
    if len(folders) > 1:
        folders = [folder for folder in folders if folder.rpartition("/")[2] != DETECTOR_FOLDER]
    if len(folders) != 1:
        raise CheckpointError(f"models:/{name}/{number} is not a model of focus-ray; give another version")
    server.download(location, [f"{folders[0]}/{MANIFEST}"], scratch)
    with _rewrite_errors(scratch, f"models:/{name}/{number}"):
        read_manifest(scratch, "model")
    return location, folders[0]


def _is_complete(target: Path, source: ModelSource | PriorSource) -> bool:
    try:
        if file_digest(target / MANIFEST) != source.digest:
            return False
        verify_artifact(target, source.kind)
    except (CheckpointError, StorageError, OSError):
        return False
    return True


@contextmanager
def _file_lock(target: Path) -> Iterator[None]:
    """Hold the lock of a cached folder, so that only one process fetches it."""
    with atomic.translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock").open("a")
    with lock:
        with suppress(OSError):  # a file system without locks: several may fetch it, the last one replaces the others
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _evict_old(cache: Path, kind: str) -> None:
    """Delete all but the most recently used folders; loaded models do not need theirs."""
    with suppress(OSError):  # another replica may delete at the same time
        folders = sorted(cache.glob(f"{kind}-*"), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-_MAX_CACHED]:
            atomic.remove(folder)
