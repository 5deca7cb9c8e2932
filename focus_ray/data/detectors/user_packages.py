"""Adapters for detectors whose packages and weights the user installs: face-alignment and insightface."""

import contextlib
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from focus_ray.data.detectors.detection import Detection
from focus_ray.data.detectors.points_106 import to_ibug
from focus_ray.data.detectors.weight_files import read_weights, sha256
from focus_ray.errors import ConfigError

_S3FD, _FAN = "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar"
FACE_ALIGNMENT_FILES = (f"checkpoints/{_S3FD}", f"checkpoints/{_FAN}")
_DETECTION_SIDE = 640  # px: insightface's usual input
_LEAST_SCORE = 0.5  # insightface's own
# Landmark networks of insightface's packs by the detector that needs them; without one the first in the folder is used.
INSIGHTFACE_LANDMARKS = {"insightface-3d68": "1k3d68.onnx", "insightface-2d106": "2d106det.onnx"}
# iBUG's 68 points from those of a network, by the package's name of its task
_TO_IBUG: dict[str, Callable[[Float[np.ndarray, "N 2"]], Float[np.ndarray, "68 2"]]] = {
    "landmark_3d_68": lambda points: points,
    "landmark_2d_106": to_ibug,
}


class FaceAlignmentDetector:
    """Detector of face-alignment 1.5: S3FD boxes and 68 FAN landmarks. Nothing is downloaded.

    Args:
        hub: torch hub folder; hub/checkpoints holds the two weight files under the package's file names, which
            `hash_face_alignment` checks.
        device: torch device of the networks.

    Raises:
        ConfigError: the package or a weight file is missing.
    """

    def __init__(self, hub: str | Path, device: str = "cpu"):
        package = _import_package("face_alignment", "face-alignment")
        detector, _ = (_require_file(Path(hub) / name, "face-alignment") for name in FACE_ALIGNMENT_FILES)
        with _hub_folder(Path(hub)):
            self._network = package.FaceAlignment(
                package.LandmarksType.TWO_D,
                device=device,
                face_detector_kwargs={"path_to_detector": str(detector)},
                compile=False,
            )

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces with boxes and landmarks.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score, the detector's confidence.
        """
        boxes = self._network.face_detector.detect_from_image(image.copy())
        if len(boxes) == 0:  # the package warns of each such picture
            return []
        landmarks = self._network.get_landmarks_from_image(image, detected_faces=boxes)
        faces = [
            Detection(_box(box), score=float(box[4]), landmarks=np.asarray(points, dtype=np.float64)[:, :2])
            for points, box in zip(landmarks, boxes, strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)


def hash_face_alignment(hub: Path) -> dict[str, str]:
    """Hash the weight files of face-alignment, whose names hold the first digits of their sha256.

    Args:
        hub: torch hub folder.

    Returns:
        The sha256 of each file of FACE_ALIGNMENT_FILES.

    Raises:
        ConfigError: a file is missing, or has another hash than its name says.
        StorageError: a file cannot be read.
    """
    hashes = {}
    for name in FACE_ALIGNMENT_FILES:
        path = _require_file(hub / name, "face-alignment")
        hashes[name] = sha256(read_weights(path))
        wanted = path.name.split(".")[0].split("-")[1]
        if not hashes[name].startswith(wanted):
            raise ConfigError(
                f"{path}: its sha256 begins with {hashes[name][: len(wanted)]}, not {wanted}; download it again"
            )
    return hashes


def insightface_files(folder: Path, name: str) -> list[str]:
    """Choose the files of an insightface model pack that a detector needs.

    Args:
        folder: folder of the pack's .onnx files.
        name: insightface, or a name of INSIGHTFACE_LANDMARKS.

    Returns:
        The name of the detection network, and of the landmark network if there is one.

    Raises:
        ConfigError: a network is missing, or there are several detection networks.
    """
    detection = [path.name for pattern in ("det_*.onnx", "scrfd_*.onnx") for path in sorted(folder.glob(pattern))]
    if len(detection) != 1:
        raise ConfigError(
            f"{folder}: {len(detection)} detection networks (det_*.onnx or scrfd_*.onnx), not 1; put the .onnx files "
            "of one of insightface's model packs there, buffalo_l for instance (nothing is downloaded automatically)"
        )
    if name in INSIGHTFACE_LANDMARKS:
        file = INSIGHTFACE_LANDMARKS[name]
        _require_file(folder / file, "insightface")
        return [*detection, file]
    return detection + [file for file in INSIGHTFACE_LANDMARKS.values() if (folder / file).is_file()][:1]


class InsightFaceDetector:
    """Detector of insightface 2.1: SCRFD boxes and five points, and 68 landmarks by a landmark network.

    The packs are for non-commercial research. Nothing is downloaded.

    Args:
        folder: folder of the pack's .onnx files.
        detection: file name of the detection network.
        landmarks: file name of the landmark network of 68 points in space (x and y are used) or of 106 points; None:
            no landmarks.
        device: number of the GPU; -1 means the CPU.

    Raises:
        ConfigError: the package is missing, or a file is not such a network.
    """

    def __init__(self, folder: str | Path, detection: str, landmarks: str | None = None, *, device: int = -1):
        self._face = _import_package("insightface.app.common", "insightface").Face
        zoo = _import_package("insightface.model_zoo", "insightface")
        self._detection = _load_onnx(zoo, Path(folder) / detection, ("detection",), device)
        self._detection.prepare(device, input_size=(_DETECTION_SIDE, _DETECTION_SIDE), det_thresh=_LEAST_SCORE)
        self._landmarks = None
        if landmarks is not None:
            self._landmarks = _load_onnx(zoo, Path(folder) / landmarks, tuple(_TO_IBUG), device)
            self._landmarks.prepare(device)

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces with boxes, five points and, with a landmark network, landmarks.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score, the detector's confidence.
        """
        seen = np.ascontiguousarray(image[..., ::-1])
        boxes, points = self._detection.detect(seen)
        faces = [
            Detection(
                _box(box),
                score=float(box[4]),
                landmarks=self._find_landmarks(seen, box),
                five_points=None if points is None else np.asarray(points[number], dtype=np.float64),
            )
            for number, box in enumerate(boxes)
        ]
        return sorted(faces, key=lambda face: -face.score)

    def _find_landmarks(self, image: UInt8[np.ndarray, "H W 3"], box: Any) -> Float[np.ndarray, "68 2"] | None:
        if self._landmarks is None:
            return None
        found = self._landmarks.get(image, self._face(bbox=box[:4]))
        return _TO_IBUG[self._landmarks.taskname](np.asarray(found, dtype=np.float64)[:, :2])


def _load_onnx(zoo: ModuleType, path: Path, tasks: tuple[str, ...], device: int) -> Any:
    """Load a network of a model pack by the package, on one thread like torch if that has one."""
    runtime = _import_package("onnxruntime", "insightface")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CPUExecutionProvider"] if device < 0 else None
    try:
        network = zoo.get_model(str(path), providers=providers, sess_options=options)
    except Exception as error:  # onnxruntime, onnx and protobuf each have errors of their own
        raise ConfigError(f"{path}: insightface cannot load it ({' '.join(str(error).split())[:200]})") from None
    task = getattr(network, "taskname", None)
    if task not in tasks:
        raise ConfigError(
            f"{path}: not a network for {' or '.join(tasks)} but {task or 'unknown'}; use the pack's file"
        )
    return network


def _box(corners: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in corners[:4])
    return left, top, right - left, bottom - top


def _import_package(module: str, distribution: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing_package(distribution, error) from None


def package_version(distribution: str) -> str:
    """Return the version of an installed package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing_package(distribution, error) from None


def _missing_package(distribution: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"the detector needs {distribution} ({error}); run `pip install '.[detect]'` in a checkout of "
        "focus-ray, or use the haar detector"
    )


def _require_file(path: Path, package: str) -> Path:
    if not path.is_file():
        raise ConfigError(
            f"{path}: the weight file is missing; put the one published for {package} there (it is not downloaded "
            "automatically)"
        )
    return path


@contextlib.contextmanager
def _hub_folder(folder: Path) -> Iterator[None]:
    """Set torch's hub folder, in which the package finds its landmark network."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        yield
    finally:
        torch.hub.set_dir(before)
