"""Quick face detector: one cascade; the thorough search runs only if its result is doubtful."""

from functools import cached_property

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from focus_ray.data.detectors.detection import Detection, Detector
from focus_ray.data.detectors.haar import HaarDetector, load_cascade
from focus_ray.settings import Settings


class QuickSettings(Settings):
    """Settings of the quick search.

    Neighbours on 24 photographs: 23 to 83 for single upright faces, at most 4 for everything else.
    """

    side: int = Field(default=320, gt=0)  # longer side of the searched picture, px
    smallest_face: float = 0.08  # of the longer side
    step: float = Field(default=1.1, gt=1)  # between two scales
    sure: int = 15  # least neighbours of a certain face
    doubtful: int = 6  # least neighbours of a possible face, for which the thorough search runs


class QuickDetector:
    """One frontal cascade over a small picture, upright faces only: a hundredth of the thorough search's work.

    Its result is used if it has a sure face and no doubtful one; otherwise the thorough detector runs. Beside a sure
    face it misses faces that are turned aside or tilted. Use one detector per thread.

    Args:
        settings: settings of the quick search; None means the defaults.
        fallback: the thorough detector; None means a HaarDetector.
    """

    def __init__(self, settings: QuickSettings | None = None, fallback: Detector | None = None):
        self.settings = settings or QuickSettings()
        self.fallback: Detector = fallback or HaarDetector()

    @cached_property
    def _cascade(self) -> cv2.CascadeClassifier:
        return load_cascade("haarcascade_frontalface_alt2")

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score: the number of neighbours, or the fallback's score if that ran.
        """
        seen = self._candidates(image)
        sure = [face for face in seen if face.score >= self.settings.sure]
        doubts = [face for face in seen if self.settings.doubtful <= face.score < self.settings.sure]
        return sure if sure and not doubts else self.fallback.detect(image)

    def _candidates(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        zoom = min(1.0, self.settings.side / max(grey.shape))
        small = (max(1, round(grey.shape[1] * zoom)), max(1, round(grey.shape[0] * zoom)))
        least = max(1, round(self.settings.smallest_face * max(small)))
        boxes, neighbours = self._cascade.detectMultiScale2(
            cv2.resize(grey, small, interpolation=cv2.INTER_AREA),
            scaleFactor=self.settings.step,
            minNeighbors=1,
            minSize=(least, least),
        )
        faces = [
            Detection((float(x / zoom), float(y / zoom), float(side / zoom), float(side / zoom)), score=float(count))
            for (x, y, side, _), count in zip(
                np.asarray(boxes, float).reshape(-1, 4), np.ravel(neighbours), strict=True
            )
        ]
        return sorted(faces, key=lambda face: -face.score)
