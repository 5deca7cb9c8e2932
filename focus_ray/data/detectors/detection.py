"""Face detection: the detector protocol, and the checks that every detection passes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from focus_ray.settings import Settings


@dataclass(frozen=True)
class Detection:
    """A face found in a picture.

    Attributes:
        box: x, y, width, height [px]; for a turned face the upright square about the same centre.
        roll: rotation of the face in the picture, rad, clockwise as seen.
        score: larger for surer faces, on the detector's own scale.
        landmarks: 68 points [px]; None if the detector gives none.
        five_points: eye centres, nose tip and mouth corners [px]; None if the detector gives none.
        mesh: 468 points of MediaPipe's face mesh [px]; None if the detector gives none.
    """

    box: tuple[float, float, float, float]
    roll: float = 0.0
    score: float = 1.0
    landmarks: Float[np.ndarray, "68 2"] | None = None
    five_points: Float[np.ndarray, "5 2"] | None = None
    mesh: Float[np.ndarray, "468 2"] | None = None

    @property
    def centre(self) -> Float[np.ndarray, " 2"]:
        """The middle of the box [px]."""
        x, y, width, height = self.box
        return np.array([x + width / 2, y + height / 2])

    @property
    def side(self) -> float:
        """The mean of width and height [px]."""
        return (self.box[2] + self.box[3]) / 2

    @property
    def presence(self) -> float | None:
        """The probability of a face by MediaPipe's face mesh, whose score it is; None with another detector."""
        return None if self.mesh is None else self.score


@runtime_checkable
class Detector(Protocol):
    """A detector of faces in upright RGB pictures."""

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces, the surest or the largest first; empty if there are none.
        """
        ...


class DetectorInfo(Settings):
    """What found the faces: name, version, and the sha256 of each weight file."""

    name: str
    version: str
    files: Mapping[str, str] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and version, for example "mesh (mediapipe 0.10.14)"."""
        return f"{self.name} ({self.version})"


class NamedDetector:
    """A detector and what it is.

    Args:
        detector: the detector.
        info: its name, version and weight files.
    """

    def __init__(self, detector: Detector, info: DetectorInfo):
        self._detector = detector
        self.info = info

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        return self._detector.detect(image)


def describe_detector(detector: Detector) -> DetectorInfo:
    """Return what a detector is; of a detector without a description, the name of its class."""
    if isinstance(detector, NamedDetector):
        return detector.info
    return DetectorInfo(name=type(detector).__name__, version="unknown")


def suppress_overlaps(faces: Iterable[Detection], overlap: float) -> list[Detection]:
    """Keep only the surest of overlapping faces.

    Args:
        faces: faces of one picture.
        overlap: share of the smaller box from which two boxes are one face.

    Returns:
        The kept faces by descending score.
    """
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap_ratio(face.box, other.box) < overlap for other in kept):
            kept.append(face)
    return kept


def bounding_box(points: Float[np.ndarray, "N 2"]) -> tuple[float, float, float, float]:
    """Return x, y, width and height of the box around points."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, width, height = np.concatenate([low, high - low]).tolist()
    return x, y, width, height


def overlap_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Compute the area that two boxes share, over the area of the smaller one.

    Args:
        one: x, y, width, height.
        other: x, y, width, height.
    """
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(one[2] * one[3], other[2] * other[3])
