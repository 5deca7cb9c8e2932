"""Source of an endpoint's model and prior: resolved once for all replicas, fetched and verified where they run.

None                                 what comes with the package
FOLDER, s3://bucket/prefix/model     an artifact, of this machine or in an object store
models:/NAME@ALIAS, models:/NAME/3   a registered model of the MLflow that MLFLOW_TRACKING_URI names
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
from focus_ray.storage import artifact_store, atomic
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
_RUNS = Path("runs")  # where runs and their database lie by default
_MAX_CACHED = 4  # models, and priors, in a cache: those used last


@dataclass(frozen=True)
class ModelSource:
    """A model as every replica is to have it."""

    kind: ClassVar[str] = "model"
    uri: str | None  # names one version for good; None: the shipped one
    digest: str | None = None  # SHA-256 of its manifest, where it is fetched
    registered: str | None = None  # NAME/VERSION in the registry, where it came from there


@dataclass(frozen=True)
class PriorSource:
    """A misfit prior as every replica is to have it."""

    kind: ClassVar[str] = "prior"
    uri: str | None  # names one version for good; "none"; None: what comes with the shipped model
    digest: str | None = None  # SHA-256 of its manifest, where it is fetched
    registered: ClassVar[str | None] = None


def resolve(uri: str | None) -> ModelSource:
    """The model that `uri` means at this moment: an alias, a link or a folder may mean another one later.

    Raises ConfigError for another kind of place, CheckpointError where there is no whole model, StorageError,
    TrackingError.
    """
    if uri is None:
        return ModelSource(None)
    return _resolve_registered(uri) if uri.startswith("models:") else ModelSource(*_resolve_stored(uri, "model"))


def resolve_prior(uri: str | None) -> PriorSource:
    """The misfit prior of a folder or of s3://bucket/prefix/prior; "none" and None stay what they are.

    Raises ConfigError, CheckpointError, StorageError.
    """
    return PriorSource(uri) if uri is None or uri == NO_PRIOR else PriorSource(*_resolve_stored(uri, "prior"))


def fetch_model(source: ModelSource, cache: Path) -> Path:
    """The folder of a model on this machine, verified, for `focus_ray.model.load`.

    It is kept in `cache`, which the replicas of a machine may share, and where the models used last stay. Raises
    CheckpointError where it is damaged or was replaced since it was resolved, StorageError, TrackingError.
    """
    from focus_ray.model import PRETRAINED_MODEL

    return PRETRAINED_MODEL if source.uri is None else _ensure_cached(source, cache)


def fetch_prior(source: PriorSource, cache: Path) -> str | Path | None:
    """The prior for `focus_ray.prior.select_prior`: a folder on this machine, "none", or None for the default.

    Raises what `fetch_model` does.
    """
    return source.uri if source.digest is None else _ensure_cached(source, cache)


def load_reconstructor(source: ModelSource, prior: PriorSource, cache: Path) -> Reconstructor:
    """The model with its prior, applied to the answers that it was measured for.

    Raises what `fetch_model` does, and FaceModelError for a prior of another face model.
    """
    from focus_ray import model as models
    from focus_ray.inference import Reconstructor
    from focus_ray.prior import select_prior

    model = models.load(fetch_model(source, cache))
    correcting = select_prior(fetch_prior(prior, cache), shipped_model=source.uri is None)
    return Reconstructor(model, prior=correcting, require_prior=False)


def registry() -> MlflowServer:
    """The MLflow that MLFLOW_TRACKING_URI names, or else the database of the runs in ./runs. Raises ConfigError."""
    from focus_ray.tracking.mlflow_tracker import TrackingSettings

    if not os.environ.get("MLFLOW_TRACKING_URI") and not (_RUNS / "mlflow.db").is_file():
        raise ConfigError("models:/ needs a registry; set MLFLOW_TRACKING_URI to the MLflow server that has it")
    return TrackingSettings().server(_RUNS / "endpoint")


def _resolve_stored(uri: str, kind: str) -> tuple[str, str]:
    """The place of an artifact and the digest of its manifest."""
    places = f"a folder or s3://bucket/prefix/{kind}" + (" or models:/NAME@ALIAS" if kind == "model" else "")
    if not uri.strip() or "\0" in uri:
        raise ConfigError(f"a {kind} needs a place; give {places}")
    scheme = SCHEME.match(uri)
    if scheme is not None and scheme[1] != "s3":
        raise ConfigError(f"a {kind} is not fetched from {scheme[1]}: addresses; give {places}")
    place = str(Path(uri).resolve()) if scheme is None else uri.rstrip("/")
    with _manifest(*_store_and_key(place), kind) as manifest:
        return place, file_digest(manifest)


def _resolve_registered(uri: str) -> ModelSource:
    match = _REGISTERED.fullmatch(uri)
    if match is None:
        raise ConfigError(f"{uri[:80]!r} names no registered model; give models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match.groups()
    server = registry()
    number = number or server.version_by_alias(name, alias)
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        _download_manifest(server, name, number, Path(scratch))
        return ModelSource(f"models:/{name}/{number}", file_digest(Path(scratch) / MANIFEST), f"{name}/{number}")


def _store_and_key(place: str) -> tuple[ObjectStore, str]:
    parent, _, key = place.rpartition("/")
    return open_store(parent or "/"), key


@contextmanager
def _manifest(store: ObjectStore, key: str, kind: str) -> Iterator[Path]:
    """The manifest of an artifact, well-formed, as a file of this machine. Raises CheckpointError, StorageError."""
    if isinstance(store, LocalStore):
        read_manifest(store.path(key), kind)
        yield store.path(key) / MANIFEST
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch, _rewrite_errors(Path(scratch), f"{store}/{key}"):
        try:
            store.download(f"{key}/{MANIFEST}", Path(scratch) / MANIFEST)
        except NoSuchObject:
            raise CheckpointError(f"no {kind} at {store}/{key}; give the place of a whole {kind}") from None
        read_manifest(Path(scratch), kind)
        yield Path(scratch) / MANIFEST


@contextmanager
def _rewrite_errors(copy: Path, place: str) -> Iterator[None]:
    """Errors about a copy tell of the place it is a copy of: the copy will be gone."""
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
    if source.registered is None:
        store, key = _store_and_key(source.uri)
        artifact_store.fetch(store, key, target, source.kind)
    else:
        name, _, number = source.registered.rpartition("/")
        _fetch_registered(name, number, target)
    if file_digest(target / MANIFEST) != source.digest:
        atomic.remove(target)
        raise CheckpointError(f"{source.uri} was replaced after the endpoint was deployed; deploy it again")


def _fetch_registered(name: str, number: str, target: Path) -> None:
    """MLflow's copy of the model folder. What lies beside it, code above all, is neither fetched nor run."""
    server = registry()
    with atomic.new_folder(target) as partial, _rewrite_errors(partial, f"models:/{name}/{number}"):
        location, folder = _download_manifest(server, name, number, partial)
        server.download(location, [f"{folder}/{file}" for file in read_manifest(partial, "model")], partial)
        verify_artifact(partial, "model")


def _download_manifest(server: MlflowServer, name: str, number: str, scratch: Path) -> tuple[str, str]:
    """The manifest of a registered model; returns the address of its files, and the key of the model folder there."""
    location = server.location(name, number)
    folders = server.list_folders(location, "artifacts")  # where MLflow keeps what its model was made of
    if len(folders) != 1:
        raise CheckpointError(f"models:/{name}/{number} is no model of focus-ray; name another version")
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
    """Others that want the same wait until it is there."""
    with atomic.translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock").open("a")
    with lock:
        with suppress(
            OSError
        ):  # a file system without locks: two may fetch the same, one after the other takes its place
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _evict_old(cache: Path, kind: str) -> None:
    """A model that is loaded needs its folder no more."""
    with suppress(OSError):  # another replica is at it
        folders = sorted(cache.glob(f"{kind}-*"), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-_MAX_CACHED]:
            atomic.remove(folder)
