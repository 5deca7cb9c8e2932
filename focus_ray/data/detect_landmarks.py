"""Landmarks of photographs by a detector: the faces of a picture, or the reason why it gets no landmarks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.data.detectors.detection import Detection, Detector, bounding_box
from focus_ray.data.detectors.weight_files import MESH_FOLDER, has_mesh_files
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.data.picture_source import PictureSource, open_picture_source
from focus_ray.errors import ConfigError, ImageError, ImageTooLarge, LandmarkError, printable
from focus_ray.settings import Settings

Reason = Literal[
    "found",
    "several_faces",
    "no_face",
    "face_too_small",
    "landmarks_rejected",
    "no_landmarks",
    "unreadable",
    "detector_failed",
]
WITH_LANDMARKS: tuple[Reason, ...] = ("found", "several_faces")
# These may have another result at the next attempt: a store that answers again, a package that is installed.
RETRIED: tuple[Reason, ...] = ("unreadable", "detector_failed")

_BOXES_ONLY = ("haar", "haar-fast", "yunet")  # detectors without 68 landmarks


class DetectSettings(Settings):
    """Which faces become training data."""

    least_face: float = Field(default=32.0, ge=8.0)  # px, longer side of the landmarks' bounding box


@dataclass(frozen=True)
class PictureFaces:
    """What was found in a picture.

    Attributes:
        name: name of the picture.
        reason: whether the picture gets landmarks, and why not.
        message: one line on it; empty if the picture gets landmarks.
        kind: of an unreadable picture: too large, undecodable, missing, not fetched or unreadable; else empty.
        faces: all faces, the largest first, which is the one that is used.
    """

    name: str
    reason: Reason
    message: str = ""
    kind: str = ""
    faces: Sequence[Detection] = field(default_factory=list)


class PictureDetector:
    """Finds faces in the pictures of a place.

    Args:
        location: absolute path of a folder, or s3://bucket/prefix.
        spec: the detector, with the weights that the process of the user read.
        settings: which faces become training data.

    Raises:
        ConfigError: weights of the detector are missing or have another hash, or its package is not installed.
        DataError: there is no such folder.
        StorageError: the store does not answer.
    """

    def __init__(self, location: str, spec: DetectorSpec, settings: DetectSettings):
        self._source = open_picture_source(location)
        self._detector = spec.build()
        self._settings = settings

    def detect(self, names: Sequence[str]) -> Iterator[PictureFaces]:
        """Read pictures and find their faces.

        Args:
            names: names of the pictures.

        Yields:
            The faces of each picture, in order.

        Raises:
            StorageError: the whole store does not answer.
        """
        for name, read in self._source.contents(names):
            yield find_faces(name, read, self._source, self._detector, self._settings)


def resolve_landmark_detector(name: str = "auto", weights: str | Path | None = None) -> DetectorSpec:
    """Choose a detector that finds 68 landmarks, and read its weights.

    Args:
        name: one of DETECTOR_NAMES; "auto" is the mesh detector.
        weights: folder of the weights, as for `resolve_detector`.

    Raises:
        ConfigError: the detector finds no landmarks, its weights are missing or differ from the expected ones, or its
            package is not installed.
        StorageError: a weight file cannot be read.
    """
    if name in _BOXES_ONLY:
        raise ConfigError(
            f"the detector {name} finds boxes and no 68 landmarks; use mesh, face-alignment or an insightface one"
        )
    if name == "auto" and not has_mesh_files(MESH_FOLDER if weights is None else Path(weights)):
        raise ConfigError(
            "the weights of the mesh detector, which finds 68 landmarks, are not installed; run "
            "infra/fetch_detectors.py of a checkout, or use face-alignment with weights of your own"
        )
    spec = resolve_detector(name, weights)
    if name == "insightface" and len(spec.info.files) == 1:
        raise ConfigError(
            f"{weights}: the detection network finds no 68 landmarks; put the pack's 1k3d68.onnx or 2d106det.onnx there"
        )
    return spec


def find_faces(
    name: str, read: Callable[[], bytes], source: PictureSource, detector: Detector, settings: DetectSettings
) -> PictureFaces:
    """Read a picture and find its faces.

    Args:
        name: name of the picture.
        read: returns its bytes.
        source: source of the picture.
        detector: the detector.
        settings: which faces become training data.

    Raises:
        StorageError: the whole store does not answer.
    """
    try:
        content = read()
    except ImageError as error:
        return _unreadable(name, error, source.failure_reason(name))
    try:
        image = read_image(content, name=printable(name))
    except ImageError as error:
        return _unreadable(name, error, "undecodable")
    try:
        faces = sorted(detector.detect(image), key=lambda face: -face.side)
    except (cv2.error, RuntimeError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return PictureFaces(
            name, "detector_failed", f"{printable(name)}: the detector failed ({printable(reason[:200])})"
        )
    return judge_faces(name, image, faces, settings)


def judge_faces(
    name: str, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Detection], settings: DetectSettings
) -> PictureFaces:
    """Decide whether the largest face of a picture becomes training data.

    Args:
        name: name of the picture.
        image: the picture.
        faces: its faces, the largest first.
        settings: which faces become training data.
    """
    shown = printable(name)
    if not faces:
        return PictureFaces(name, "no_face", f"{shown}: no face was found")
    if faces[0].landmarks is None:
        return PictureFaces(name, "no_landmarks", f"{shown}: the detector gave no 68 landmarks", faces=faces)
    side = max(bounding_box(faces[0].landmarks)[2:])
    if side < settings.least_face:
        message = f"{shown}: the largest face has {side:.0f} px, less than {settings.least_face:g} px"
        return PictureFaces(name, "face_too_small", message, faces=faces)
    try:
        validate_landmarks(faces[0].landmarks, *image.shape[:2])
    except LandmarkError as error:
        return PictureFaces(name, "landmarks_rejected", f"{shown}: {error}", faces=faces)
    return PictureFaces(name, "found" if len(faces) == 1 else "several_faces", faces=faces)


def _unreadable(name: str, error: ImageError, kind: str) -> PictureFaces:
    kind = "too large" if isinstance(error, ImageTooLarge) else kind
    return PictureFaces(name, "unreadable", str(error), kind)
