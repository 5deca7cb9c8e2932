"""Detectors by name. The process that a user starts reads the weights; workers get them from it, with their hashes."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import cv2

from focus_ray.data.detectors.detection import Detector, DetectorInfo, NamedDetector
from focus_ray.data.detectors.haar import CASCADES, HaarDetector, HaarSettings, cascade_file
from focus_ray.data.detectors.mesh import MeshDetector
from focus_ray.data.detectors.quick_haar import QuickDetector
from focus_ray.data.detectors.user_packages import (
    INSIGHTFACE_LANDMARKS,
    FaceAlignmentDetector,
    InsightFaceDetector,
    hash_face_alignment,
    insightface_files,
    package_version,
)
from focus_ray.data.detectors.weight_files import (
    MESH_FOLDER,
    MESH_HASHES,
    MESH_VERSION,
    has_mesh_files,
    read_weights,
    sha256,
    verify_hashes,
)
from focus_ray.data.detectors.yunet import YuNetDetector
from focus_ray.errors import ConfigError

logger = logging.getLogger(__name__)

DetectorName = Literal[
    "auto",
    "mesh",
    "haar",
    "haar-fast",
    "yunet",
    "face-alignment",
    "insightface",
    "insightface-2d106",
    "insightface-3d68",
]
DETECTOR_NAMES: tuple[str, ...] = get_args(DetectorName)
_OF_USER = ("yunet", "face-alignment", "insightface", *INSIGHTFACE_LANDMARKS)  # with weights of the user


@dataclass(frozen=True)
class DetectorSpec:
    """What a process needs to build a detector; it can be sent to another process.

    Attributes:
        info: name, version and the hashes of the weight files.
        weights: contents of the weight files, by name; empty for detectors that read their files themselves.
        folder: the user's folder of weights, of detectors whose packages read their files themselves.
        haar: settings of the Haar detectors.
    """

    info: DetectorInfo
    weights: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    folder: str | None = None
    haar: HaarSettings = field(default_factory=HaarSettings)

    def build(self) -> NamedDetector:
        """Build the detector, with scratch memory of its own: one for each thread.

        Raises:
            ConfigError: a weight file is missing or has another hash, or a package is missing.
        """
        verify_hashes(self._hash_weights(), self.info.files, self.folder or f"the {self.info.name} detector")
        return NamedDetector(_BUILDERS[self.info.name](self), self.info)

    def _hash_weights(self) -> dict[str, str]:
        """Hash the weights of this process."""
        if self.folder is not None:
            return hash_files({name: Path(self.folder) / name for name in self.info.files})
        if self.info.name in ("haar", "haar-fast"):
            return hash_files(_cascade_files())
        return {name: sha256(content) for name, content in self.weights.items()}


def resolve_detector(
    name: str = "auto", weights: str | Path | None = None, haar: HaarSettings | None = None
) -> DetectorSpec:
    """Choose a detector and read its weights.

    Args:
        name: one of DETECTOR_NAMES. "auto" is the mesh detector, or the Haar detector if its weights are missing.
        weights: folder of the weights; required for yunet (also the .onnx file itself), face-alignment (a torch hub
            folder) and the insightface ones (a folder of .onnx files), and optional for mesh.
        haar: settings of the Haar detectors; None means the defaults.

    Raises:
        ConfigError: there is no such detector, its weights are missing or differ from the expected ones, or its package
            is not installed.
        StorageError: a weight file cannot be read.
    """
    if name not in DETECTOR_NAMES:
        raise ConfigError(f"there is no detector {name!r}; choose from {', '.join(DETECTOR_NAMES)}")
    folder = None if weights is None else Path(weights)
    if name in _OF_USER and folder is None:
        raise ConfigError(f"the detector {name} needs weights that are not part of focus-ray; give their folder")
    if name.startswith("haar") and folder is not None:
        raise ConfigError(f"the detector {name} has no weights to give; leave the folder of weights out")
    if name == "auto":
        name = "mesh" if has_mesh_files(folder or MESH_FOLDER) else "haar"
        if name == "haar":
            logger.warning(
                "the weights of the mesh detector are not installed: faces are detected by OpenCV's cascades, which "
                "miss many occluded faces; run infra/fetch_detectors.py of a checkout"
            )
    return _RESOLVERS[name](name, folder, haar or HaarSettings())


def hash_files(paths: Mapping[str, Path]) -> dict[str, str]:
    """Hash files that exist: sha256 by name."""
    return {name: sha256(read_weights(path)) for name, path in paths.items() if path.is_file()}


def _resolve_mesh(name: str, folder: Path | None, haar: HaarSettings) -> DetectorSpec:
    folder = folder or MESH_FOLDER
    weights = {file: read_weights(folder / file) for file in MESH_HASHES}
    verify_hashes({file: sha256(content) for file, content in weights.items()}, MESH_HASHES, str(folder))
    return DetectorSpec(DetectorInfo(name=name, version=MESH_VERSION, files=MESH_HASHES), weights)


def _resolve_haar(name: str, folder: Path | None, haar: HaarSettings) -> DetectorSpec:
    files = hash_files(_cascade_files())
    return DetectorSpec(DetectorInfo(name=name, version=f"opencv {cv2.__version__}", files=files), haar=haar)


def _resolve_yunet(name: str, folder: Path | None, haar: HaarSettings) -> DetectorSpec:
    assert folder is not None
    path = folder if folder.is_file() else _only_file(folder)
    content = read_weights(path)
    info = DetectorInfo(name=name, version=f"opencv {cv2.__version__}", files={path.name: sha256(content)})
    spec = DetectorSpec(info, {path.name: content})
    spec.build()  # a file that is not a YuNet network is an error here and not in a worker
    return spec


def _resolve_face_alignment(name: str, folder: Path | None, haar: HaarSettings) -> DetectorSpec:
    assert folder is not None
    files, version = hash_face_alignment(folder), package_version("face-alignment")
    return DetectorSpec(DetectorInfo(name=name, version=version, files=files), folder=str(folder))


def _resolve_insightface(name: str, folder: Path | None, haar: HaarSettings) -> DetectorSpec:
    assert folder is not None
    names, version = insightface_files(folder, name), package_version("insightface")
    files = hash_files({file: folder / file for file in names})
    return DetectorSpec(DetectorInfo(name=name, version=version, files=files), folder=str(folder))


def _only_file(folder: Path) -> Path:
    """Return the only .onnx file of a folder. Raises ConfigError if there is none, or more than one."""
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        raise ConfigError(f"{folder}: {len(found)} .onnx files; give the file of the YuNet network")
    return found[0]


def _cascade_files() -> dict[str, Path]:
    return {f"{name}.xml": cascade_file(name) for name in CASCADES}


_RESOLVERS: dict[str, Callable[[str, Path | None, HaarSettings], DetectorSpec]] = {
    "mesh": _resolve_mesh,
    "haar": _resolve_haar,
    "haar-fast": _resolve_haar,
    "yunet": _resolve_yunet,
    "face-alignment": _resolve_face_alignment,
    **dict.fromkeys(("insightface", *INSIGHTFACE_LANDMARKS), _resolve_insightface),
}
_BUILDERS: dict[str, Callable[[DetectorSpec], Detector]] = {
    "mesh": lambda spec: MeshDetector(spec.weights),
    "haar": lambda spec: HaarDetector(spec.haar),
    "haar-fast": lambda spec: QuickDetector(fallback=HaarDetector(spec.haar)),
    "yunet": lambda spec: YuNetDetector(next(iter(spec.weights.values()))),
    "face-alignment": lambda spec: FaceAlignmentDetector(spec.folder or ""),
    **dict.fromkeys(
        ("insightface", *INSIGHTFACE_LANDMARKS), lambda spec: InsightFaceDetector(spec.folder or "", *spec.info.files)
    ),
}
