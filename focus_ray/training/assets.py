"""What a run needs before its first step: files, data, places and devices, whether they are there, and their terms."""

import hashlib
import importlib.util
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import torch

from focus_ray.config import RunConfig
from focus_ray.data.detect_landmarks import resolve_landmark_detector
from focus_ray.data.photos import LANDMARK_FILE
from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.prepared.prepared_split import TRAIN
from focus_ray.data.prepared.store_files import is_prepared, read_description
from focus_ray.errors import CheckpointError, ConfigError, DataError, FocusRayError, StorageError, TrackingError
from focus_ray.face_models.by_name import SHIPPED_FACES
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.licences.table import Part, licence_table
from focus_ray.licences.terms import DATA, DETECTORS, Terms
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.runtime.ray_cluster import ClusterSettings, cluster_address
from focus_ray.storage.checkpoint import load_model
from focus_ray.storage.open_store import open_store
from focus_ray.storage.weights import MAX_BYTES
from focus_ray.tracking.mlflow_tracker import TrackingSettings
from focus_ray.training.assemble import check_photo_config, resolve_start_model
from focus_ray.training.prepare import check_planted

T = TypeVar("T")

SOURCES = {
    "face model": "https://faces.dmi.unibas.ch/bfm/bfm2017.html, then `focus-ray face import bfm`",
    "arcface": "https://github.com/deepinsight/insightface/tree/master/recognition/arcface_torch",
    "auraface": "https://huggingface.co/fal/AuraFace-v1",
    "insightface_mbf": "https://github.com/deepinsight/insightface/tree/master/model_zoo",
    "mobilefacenet": "https://github.com/foamliu/MobileFaceNet",
    "face_mesh": "infra/fetch_detectors.py of a checkout",
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "photographs": "https://github.com/switchablenorms/CelebAMask-HQ, then `focus-ray data prepare celebahq`",
    "detector": "infra/fetch_detectors.py of a checkout",
}
"""Where each asset is published."""

_TIMEOUT_SECONDS = 3.0  # s, for the tracking server
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")  # torchvision's files are named by the first digits of their sha256
_MAGIC = {b"PK\x03\x04": "PyTorch", b"\x80\x02": "PyTorch, before 1.6"}


class Asset(NamedTuple):
    """One thing that a run needs.

    Attributes:
        name: what it is for.
        what: the file, network, set or device.
        location: where it was looked for; None for what the code makes.
        version: hash, format, counts or version, as far as known.
        source: where to get it.
        terms: its terms; None for places and devices.
        error: why the run cannot use it; None if it is there.
        warning: what the user should know although the run can start.
    """

    name: str
    what: str
    location: str | None = None
    version: str | None = None
    source: str | None = None
    terms: Terms | None = None
    error: FocusRayError | None = None
    warning: str | None = None

    @property
    def state(self) -> str:
        """`found`, `made` by the code, or `missing`, which includes what is there and cannot be used."""
        if self.error is not None:
            return "missing"
        return "made" if self.location is None else "found"


def list_assets(
    config: RunConfig, out: Path, cluster: ClusterSettings, storage: str | None = None, *, local: bool = False
) -> list[Asset]:
    """Look for everything that a run needs. Nothing is written, downloaded or unpickled.

    Args:
        config: the run's configuration.
        out: folder of the run.
        cluster: workers and their resources.
        storage: folder or s3://bucket/prefix of the checkpoints; None: the run folder.
        local: whether the run trains in one process, without Ray and MLflow.
    """
    terms = {part.part: part for part in licence_parts(config, out)}
    found = [
        *_networks(config, out, terms),
        *_data(config, terms),
        _run_folder(out),
        *([] if storage is None else [_storage(storage)]),
        *([] if local else [_tracking(out)]),
        _torch(),
        _device(config, cluster, local=local),
        *_rasterizer(config),
    ]
    return found


def licence_parts(config: RunConfig, out: Path) -> list[Part]:
    """Return the rows of the licence table of the model that a run would make.

    Args:
        config: the run's configuration.
        out: folder of the run.
    """
    if config.start_from is None:
        face = _or_none(lambda: _face_description(config))
        info: dict[str, Any] = {"settings": config.model.model_dump(mode="json"), "lineage": {"training": []}}
        info |= {} if face is None else {"face": face}
    else:
        start = resolve_start_model(config.start_from, out)
        info = _or_none(lambda: load_model(start).info) or {"lineage": {"training": []}}
    parts = [part for part in licence_table(info) if part.in_model]
    return [*parts, _data_part(config)]


def _or_none(read: Callable[[], T]) -> T | None:
    """Return what a function reads; None if that fails, which the asset itself reports."""
    try:
        return read()
    except FocusRayError:
        return None


def _face_description(config: RunConfig) -> dict[str, Any]:
    if config.face.file is None:
        return {"name": "parametric"}
    return MorphableModel.read_description(SHIPPED_FACES.get(config.face.file, Path(config.face.file)))


def _data_part(config: RunConfig) -> Part:
    """Row of the training data: a prepared store has the terms of its set."""
    if config.photos is None:
        kind = config.data.source
        return Part(part="training data", what=kind, **DATA[kind].model_dump())
    photos = config.photos
    described = _or_none(lambda: read_description(open_store(photos)) if is_prepared(photos) else None)
    if described is None:
        return Part(part="training data", what="photographs", **DATA["photographs"].model_dump())
    return Part(part="training data", what=described.source, **described.terms.model_dump())


def _terms(terms: dict[str, Part], name: str) -> Terms | None:
    part = terms.get(name)
    return None if part is None else Terms(terms=part.terms, commercial=part.commercial, why=part.why)


def _networks(config: RunConfig, out: Path, terms: dict[str, Part]) -> Iterator[Asset]:
    """Face model and weights, or the start model, which has both."""
    if config.start_from is not None:
        yield _start_model(config, out, terms)
        return
    yield _face(config, terms)
    encoder, recogniser = config.model.encoder, config.model.perceptual
    if encoder.weights is not None:
        found = _weight_file("encoder weights", f"{encoder.kind}, ImageNet", encoder.weights, SOURCES[encoder.kind])
        yield found._replace(terms=_terms(terms, "encoder's start"))
    elif encoder.kind != "small":
        warning = f"the paper starts from ImageNet weights: model.encoder.weights=FILE; {SOURCES[encoder.kind]}"
        yield Asset("encoder weights", f"{encoder.kind}, at random", warning=warning)
    if recogniser.kind == "warmup_encoder":
        yield Asset("recogniser", "a copy of the encoder after the warm-up")
    elif recogniser.kind == "face_mesh":
        yield _detector("recogniser", DETECTORS["mesh"])
    else:
        source, row = SOURCES[recogniser.kind], _terms(terms, "recogniser")
        if recogniser.weights is None:
            error = ConfigError(f"no weights of the recogniser {recogniser.kind}; set model.perceptual.weights=FILE")
            yield Asset("recogniser", recogniser.kind, source=source, terms=row, error=error)
        else:
            yield _weight_file("recogniser", recogniser.kind, recogniser.weights, source)._replace(terms=row)


def _start_model(config: RunConfig, out: Path, terms: dict[str, Part]) -> Asset:
    assert config.start_from is not None
    folder = resolve_start_model(config.start_from, out)
    what = "start model with its face model and networks"
    try:
        version = str(load_model(folder).info.get("version"))
    except FocusRayError as error:
        return Asset("start model", what, str(folder), source="`focus-ray model list`", error=error)
    shown = next((name for name, place in SHIPPED_MODELS.items() if place == folder), str(folder))
    return Asset("start model", what, shown, version, terms=_strictest(terms))


def _strictest(terms: dict[str, Part]) -> Terms | None:
    """The most restrictive terms of a start model's parts."""
    own = [part for name, part in terms.items() if name != "training data"]
    order = ("no", "ask the owner", "yes")
    part = min(own, key=lambda one: order.index(one.commercial), default=None)
    return None if part is None else Terms(terms=part.terms, commercial=part.commercial, why=part.why)


def _face(config: RunConfig, terms: dict[str, Part]) -> Asset:
    row = _terms(terms, "face model")
    if config.face.file is None:
        return Asset("face model", f"parametric, {config.face.resolution}", terms=row)
    path = SHIPPED_FACES.get(config.face.file, Path(config.face.file))
    asset = Asset("face model", config.face.file, str(path), source=SOURCES["face model"], terms=row)
    try:
        described = MorphableModel.read_description(path)
    except FocusRayError as error:
        return asset._replace(error=error)
    version = f"{described['vertices']} vertices, digest {str(described.get('digest'))[:12]}"
    return asset._replace(what=str(described.get("name")), version=version)


def _weight_file(name: str, what: str, path: Path, source: str) -> Asset:
    """Look at size, format and hash of a weight file, without reading its tensors."""
    asset = Asset(name, what, str(path), source=source)
    try:
        size = path.stat().st_size if path.is_file() else 0
        if not 0 < size <= MAX_BYTES:
            problem = "there is no such file, or it is empty" if size == 0 else f"it has more than {MAX_BYTES} bytes"
            return asset._replace(error=CheckpointError(f"{path}: {problem}; give the published weights"))
        with path.open("rb") as file:
            start = file.read(9)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return asset._replace(error=CheckpointError(f"cannot read {path} ({error.strerror}); give another file"))
    named = _HASH_IN_NAME.search(path.name)
    if named is not None and not digest.startswith(named[1]):
        problem = f"{path} has sha256 {digest[:8]}..., its name says {named[1]}; download it again"
        return asset._replace(error=CheckpointError(problem))
    kind = "safetensors" if start[8:] == b"{" else next((k for m, k in _MAGIC.items() if start.startswith(m)), "other")
    kind = "ONNX" if path.suffix == ".onnx" else kind
    return asset._replace(version=f"{kind}, {size / 1e6:.1f} MB, sha256 {digest}")


def _data(config: RunConfig, terms: dict[str, Part]) -> Iterator[Asset]:
    """Training pictures, their landmarks, or the detector that finds them."""
    row = _terms(terms, "training data")
    try:
        check_planted(config)
        if config.photos is not None:
            check_photo_config(config)
    except ConfigError as error:
        yield Asset("data", "photographs", config.photos, source=SOURCES["photographs"], terms=row, error=error)
        return
    if config.photos is None:
        yield Asset("data", f"{config.data.source} faces", terms=row)
        return
    asset = Asset("data", "photographs", config.photos, source=SOURCES["photographs"], terms=row)
    try:
        if is_prepared(config.photos):
            yield _prepared(asset, config)
            return
        source = open_picture_source(config.photos)
        pictures = len(source.list_pictures(recursive=True).versions)
        if pictures == 0:
            raise DataError(f"{config.photos} has no pictures; give a folder of photographs or a prepared store")
        landmarks = config.landmarks or (f"{source}/{LANDMARK_FILE}" if source.holds(LANDMARK_FILE) else None)
    except FocusRayError as error:
        yield asset._replace(error=error)
        return
    yield asset._replace(version=f"{pictures} pictures")
    if landmarks is None:
        yield _detector("detector", DETECTORS["mesh"])
    else:
        yield _landmarks(landmarks)


def _prepared(asset: Asset, config: RunConfig) -> Asset:
    assert config.photos is not None
    described = read_description(open_store(config.photos))
    splits = ", ".join(f"{count} {name or 'unnamed'}" for name, count in described.splits.items())
    version = f"{splits}; {described.size} px; index sha256 {described.index_sha256[:12]}"
    asset = asset._replace(what=described.source, version=version)
    if config.landmarks is not None:
        error = ConfigError(f"{config.photos} is a prepared store, which has its own landmarks; leave the others out")
        return asset._replace(error=error)
    if not any(described.splits.get(name) for name in TRAIN):
        return asset._replace(error=DataError(f"{config.photos} has no training split; train on another set"))
    if described.size < config.model.camera.image_size:
        needed = config.model.camera.image_size
        error = ConfigError(f"{config.photos} has crops of {described.size} px, the run needs {needed}; prepare again")
        return asset._replace(error=error)
    return asset


def _landmarks(location: str) -> Asset:
    asset = Asset("landmarks", "68 points of each photograph", location, source="`focus-ray data detect`")
    if "://" in location or Path(location).is_file():
        return asset
    return asset._replace(error=DataError(f"{location}: there is no such landmark file; correct the path"))


def _detector(name: str, terms: Terms) -> Asset:
    """The weights of the mesh detector, which finds missing landmarks and is a recogniser too."""
    asset = Asset(name, "mesh", source=SOURCES["detector"], terms=terms)
    try:
        info = resolve_landmark_detector("mesh").info
    except FocusRayError as error:
        return asset._replace(error=error)
    return asset._replace(location="the package", version=f"{info.version}, {len(info.files)} files verified")


def _run_folder(out: Path) -> Asset:
    """The folder of the run: writable, and how much space is left."""
    nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    asset = Asset("run folder", "checkpoints, report, model", str(out))
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        return asset._replace(error=StorageError(f"cannot write to {nearest}; choose another folder"))
    return asset._replace(version=f"{shutil.disk_usage(nearest).free / 1e9:.1f} GB free")


def _storage(uri: str) -> Asset:
    """Whether a store answers; what it would take to write there is not tried."""
    asset = Asset("storage", "checkpoints and model", uri)
    if "://" not in uri:
        return _run_folder(Path(uri))._replace(name="storage", what=asset.what)
    try:
        open_store(uri).list("", limit=1)
    except FocusRayError as error:
        return asset._replace(error=error)
    return asset._replace(version="answers; writing was not tried")


def _tracking(out: Path) -> Asset:
    """MLflow, without which a run trains all the same."""
    asset = Asset("tracking", "MLflow", source="MLFLOW_TRACKING_URI")
    try:
        server = str(TrackingSettings().server(out))
    except TrackingError as error:
        return asset._replace(warning=str(error))
    asset = asset._replace(location=server)
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https"):
        return asset
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _TIMEOUT_SECONDS).close()
    except (OSError, ValueError) as error:
        return asset._replace(warning=f"does not answer ({error}); `focus-ray track` uploads the run later")
    return asset


def _torch() -> Asset:
    return Asset("torch", "networks", "installed", torch.__version__)


def _device(config: RunConfig, cluster: ClusterSettings, *, local: bool) -> Asset:
    """One GPU for each worker, or the processor."""
    smallest = min(config.batch_size, config.warmup.batch_size)
    if cluster.workers > smallest:
        error = ConfigError(f"{cluster.workers} workers cannot share a batch of {smallest}; ask for fewer workers")
        return Asset("workers", "processes that share a batch", "this run", error=error)
    if not cluster.gpu:
        capability = torch.backends.cpu.get_cpu_capability()
        return Asset("device", "processor", "this machine", f"{capability}, {os.cpu_count()} cores")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    asset = Asset("device", "one GPU for each worker", "this machine", ", ".join(names) or None)
    if cluster_address() not in (None, "local") and not local:
        return asset._replace(location="the cluster of RAY_ADDRESS", warning="its GPUs were not counted")
    if len(names) < cluster.workers:
        found = f"CUDA is missing here: torch {torch.__version__} finds {len(names)} of {cluster.workers} GPUs"
        error = ConfigError(f"{found}; install torch for CUDA, or train on a machine with GPUs")
        return asset._replace(error=error)
    return asset


def _rasterizer(config: RunConfig) -> Iterator[Asset]:
    if config.rasterizer != "pytorch3d":
        return
    found = importlib.util.find_spec("pytorch3d") is not None
    error = None if found else ConfigError("pytorch3d is not installed; see docs/rasterizers.md")
    source = "https://github.com/facebookresearch/pytorch3d"
    yield Asset("rasterizer", "pytorch3d", "installed" if found else None, source=source, error=error)


def face_vertices(config: RunConfig) -> int | None:
    """Return the number of vertices of an imported face model; None if it is another one or cannot be read.

    Args:
        config: the run's configuration.
    """
    if config.start_from is not None or config.face.file is None:
        return None
    described = _or_none(lambda: _face_description(config))
    return None if described is None else described["vertices"]
