"""Face detection: the detector protocol, and the checks that every detection passes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Detection:
    """A face found in a picture.

    box is x, y, width, height [px]; for a turned face it is the upright square about the same centre. roll says by how
    much the face is turned in the picture (rad, clockwise as seen). score is larger for surer faces, on the detector's
    own scale. landmarks are 68 points and five_points the eye centres, nose tip and mouth corners [px], where the
    detector gives them.
    """

    box: tuple[float, float, float, float]
    roll: float = 0.0
    score: float = 1.0
    landmarks: Float[np.ndarray, "68 2"] | None = None
    five_points: Float[np.ndarray, "5 2"] | None = None

    @property
    def centre(self) -> Float[np.ndarray, " 2"]:
        """The middle of the box [px]."""
        x, y, width, height = self.box
        return np.array([x + width / 2, y + height / 2])

    @property
    def side(self) -> float:
        """The mean of width and height [px]."""
        return (self.box[2] + self.box[3]) / 2


@runtime_checkable
class Detector(Protocol):
    """Anything that finds faces in an upright RGB picture, the surest first; none is an empty list."""

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]: ...


def suppress_overlaps(faces: Iterable[Detection], overlap: float) -> list[Detection]:
    """Of boxes that share more than that part of the smaller one only the surest; the surest first."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap_ratio(face.box, other.box) < overlap for other in kept):
            kept.append(face)
    return kept


def overlap_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Area that two boxes share, over the area of the smaller one."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(one[2] * one[3], other[2] * other[3])
