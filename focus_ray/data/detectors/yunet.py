"""YuNet (Wu et al., 2023) by OpenCV's FaceDetectorYN, with a weight file of the user."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from focus_ray.data.align import Crop
from focus_ray.data.detectors.detection import Detection, suppress_overlaps
from focus_ray.data.detectors.mesh import whole_view
from focus_ray.errors import ConfigError
from focus_ray.settings import Settings


class YuNetSettings(Settings):
    """Settings of the search."""

    max_side: int = Field(default=640, gt=0)  # px: larger pictures are shrunk to it
    least_score: float = Field(default=0.6, ge=0, le=1)
    overlap: float = Field(default=0.3, ge=0, le=1)  # intersection over union from which two boxes are one face
    turns: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)  # degrees of roll that are searched
    turned_overlap: float = Field(default=0.4, ge=0, le=1)  # of two turns: share of the smaller box


class YuNetDetector:
    """Detector of boxes and five points. Use one per thread.

    Args:
        weights: content of the .onnx file.
        settings: None means the defaults.

    Raises:
        ConfigError: OpenCV cannot read the file as a YuNet network.
    """

    def __init__(self, weights: bytes, settings: YuNetSettings | None = None):
        self.settings = settings or YuNetSettings()
        try:
            self._network = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(weights, np.uint8),
                np.zeros(0, np.uint8),
                (320, 320),
                self.settings.least_score,
                self.settings.overlap,
            )
            self._search(np.zeros((64, 64, 3), np.uint8), 0.0)
        except cv2.error as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"OpenCV cannot use the weight file of the yunet detector ({reason})") from None

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces with boxes and five points.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score.
        """
        faces = [face for turn in self.settings.turns for face in self._search(image, turn)]
        return suppress_overlaps(faces, self.settings.turned_overlap)

    def _search(self, image: UInt8[np.ndarray, "H W 3"], turn: float) -> list[Detection]:
        view = whole_view(image, min(self.settings.max_side, max(image.shape)), turn)
        seen = np.ascontiguousarray(view.warp(image)[..., ::-1])
        self._network.setInputSize((view.size, view.size))
        _, rows = self._network.detect(seen)
        return [] if rows is None else [_to_detection(row.astype(np.float64), view) for row in rows]


def _to_detection(row: Float[np.ndarray, " 15"], view: Crop) -> Detection:
    """Convert a row: box, right and left eye, nose tip, right and left mouth corner, score; px of the view."""
    x, y, width, height = row[:4]
    centre = view.to_image(np.array([x + width / 2, y + height / 2]))
    side = float(max(width, height)) / view.scale
    left, top = (centre - side / 2).tolist()
    return Detection(
        (left, top, side, side), -view.roll, float(row[14]), five_points=view.to_image(row[4:14].reshape(5, 2))
    )
