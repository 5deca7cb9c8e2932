"""Adapters for detectors whose packages and weights the user installs: face-alignment and insightface."""

import contextlib
import hashlib
import importlib
import importlib.metadata
import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from focus_ray.data.detectors.detection import Detection
from focus_ray.errors import ConfigError

_S3FD, _FAN = "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar"
FACE_ALIGNMENT_FILES = (f"checkpoints/{_S3FD}", f"checkpoints/{_FAN}")
_DETECTION_SIDE = 640  # px: insightface's usual input


class FaceAlignmentDetector:
    """Detector of face-alignment 1.5: S3FD boxes and 68 FAN landmarks.

    Tested against stand-ins only, because its weights were not available. Nothing is downloaded.

    Args:
        hub: torch hub folder; hub/checkpoints holds the two weight files under the package's file names, and each must
            hash to the digits in its name.
        device: torch device of the networks.

    Raises:
        ConfigError: the package or a weight file is missing, or a weight file has another hash.
    """

    def __init__(self, hub: str | Path, device: str = "cpu"):
        package = _import_package("face_alignment", "face-alignment")
        detector, _ = (_verify_weights(Path(hub) / "checkpoints" / name) for name in (_S3FD, _FAN))
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
        with contextlib.redirect_stdout(io.StringIO()):
            answer = self._network.get_landmarks_from_image(image, return_bboxes=True)
        landmarks, _, boxes = answer or ([], [], [])
        faces = [
            Detection(_box(box), score=float(box[4]), landmarks=np.asarray(points, dtype=np.float64)[:, :2])
            for points, box in zip(landmarks or [], boxes or [], strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)


class InsightFaceDetector:
    """Detector of insightface 2.1: SCRFD boxes and five points, and 68 landmarks if the pack has them.

    Tested against stand-ins only. The packs are for non-commercial research. Nothing is downloaded.

    Args:
        folder: folder of the pack's .onnx files.
        device: number of the GPU; -1 means the CPU.

    Raises:
        ConfigError: the package, the .onnx files or the detection network among them is missing.
    """

    def __init__(self, folder: str | Path, device: int = -1):
        if not any(Path(folder).glob("*.onnx")):
            raise ConfigError(
                f"{folder}: no .onnx files; unpack insightface's model pack there (it is not downloaded automatically)"
            )
        package = _import_package("insightface.app", "insightface")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self._network = package.FaceAnalysis(name=str(folder))
                self._network.prepare(ctx_id=device, det_size=(_DETECTION_SIDE, _DETECTION_SIDE))
        except AssertionError:  # raised by the package if it finds no detection network
            raise ConfigError(
                f"{folder}: no detection network among the .onnx files; add the pack's det_*.onnx"
            ) from None

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces with boxes and five points.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score, the detector's confidence.
        """
        found = self._network.get(np.ascontiguousarray(image[..., ::-1]))
        return sorted((_to_detection(face) for face in found), key=lambda face: -face.score)


def _to_detection(face: Any) -> Detection:
    dense = getattr(face, "landmark_3d_68", None)
    five = getattr(face, "kps", None)
    return Detection(
        _box(face.bbox),
        score=float(face.det_score),
        landmarks=None if dense is None else np.asarray(dense, dtype=np.float64)[:, :2],
        five_points=None if five is None else np.asarray(five, dtype=np.float64),
    )


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


def _verify_weights(path: Path) -> Path:
    """The weight file, if it hashes to the hexadecimal digits in its name (a prefix of its sha256)."""
    if not path.is_file():
        raise ConfigError(f"{path}: the weight file is missing; put it there (it is not downloaded automatically)")
    wanted = path.name.split(".")[0].split("-")[1]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(wanted):
        raise ConfigError(f"{path}: its sha256 begins with {digest[: len(wanted)]}, not {wanted}; download it again")
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
