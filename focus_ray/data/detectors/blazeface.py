"""BlazeFace (Bazarevsky et al., 2019): candidates for faces in a square view of a picture, by OpenCV's dnn module."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from focus_ray.data.align import Crop

_SCORE_LIMIT = 100.0  # logits are clipped to it
_PIXEL_CENTRE = 0.5  # the networks count px from the edge of the first pixel, we from its centre
RIGHT_EYE, LEFT_EYE = 0, 1  # of the keypoints; as in the picture: the right eye is on its left side


@dataclass(frozen=True)
class BlazeFaceVersion:
    """Input and anchors of one published network.

    Attributes:
        side: width and height of the input, px.
        anchors: (stride, anchors at each place) of the output maps, in their order.
    """

    side: int
    anchors: tuple[tuple[int, int], ...]


# For faces within about two metres: 16 x 16 places with two anchors, 8 x 8 places with six.
SHORT_RANGE = BlazeFaceVersion(128, ((8, 2), (16, 6)))
# For smaller faces: 48 x 48 places with one anchor.
FULL_RANGE = BlazeFaceVersion(192, ((4, 1),))


@dataclass(frozen=True, eq=False)
class FaceCandidate:
    """A face that BlazeFace proposes, in px of the picture.

    Attributes:
        centre: of the box.
        side: longer side of the box.
        keypoints: right eye, left eye, nose tip, mouth, right ear, left ear.
        score: probability of a face.
    """

    centre: Float[np.ndarray, " 2"]
    side: float
    keypoints: Float[np.ndarray, "6 2"]
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The upright square about the centre: x, y, width, height."""
        x, y = (self.centre - self.side / 2).tolist()
        return x, y, self.side, self.side

    @property
    def roll(self) -> float:
        """Rotation of the line through the eyes, rad, clockwise as seen."""
        across = self.keypoints[LEFT_EYE] - self.keypoints[RIGHT_EYE]
        return float(np.arctan2(across[1], across[0]))


class BlazeFace:
    """One BlazeFace network. It has scratch memory: use one per thread.

    Args:
        weights: content of its .tflite file.
        version: input and anchors of the network.
    """

    def __init__(self, weights: bytes, version: BlazeFaceVersion):
        self._network = cv2.dnn.readNetFromTFLite(np.frombuffer(weights, np.uint8))
        self._outputs = self._network.getUnconnectedOutLayersNames()
        self._anchors = _anchor_centres(version)
        self.version = version

    def propose(self, seen: UInt8[np.ndarray, "S S 3"], view: Crop, least_score: float) -> list[FaceCandidate]:
        """Propose faces.

        Args:
            seen: RGB of the view.
            view: square view of the picture, of the network's side S.
            least_score: least probability of a candidate.

        Returns:
            Candidates by descending score; several of them may be one face.
        """
        scaled = seen.astype(np.float32) / 127.5 - 1.0
        self._network.setInput(np.ascontiguousarray(scaled.transpose(2, 0, 1)[None]))
        found = {output.shape[2]: output[0].astype(np.float64) for output in self._network.forward(self._outputs)}
        scores = 1.0 / (1.0 + np.exp(-found[1][:, 0].clip(-_SCORE_LIMIT, _SCORE_LIMIT)))
        rows = np.flatnonzero(scores >= least_score)
        rows = rows[np.argsort(-scores[rows])]
        return [_decode(found[16][row], self._anchors[row], float(scores[row]), view) for row in rows]


def _decode(raw: Float[np.ndarray, " 16"], anchor: Float[np.ndarray, " 2"], score: float, view: Crop) -> FaceCandidate:
    """Decode offsets from the anchor [px of the view]: centre, width and height, six points."""
    points = view.to_image(np.vstack([raw[:2], raw[4:].reshape(6, 2)]) + anchor - _PIXEL_CENTRE)
    side = float(raw[2:4].max()) / view.scale
    return FaceCandidate(points[0], side, points[1:], score)


def _anchor_centres(version: BlazeFaceVersion) -> Float[np.ndarray, "N 2"]:
    """Return the centres of all anchors, px of the view from the edge of its first pixel, row by row."""
    maps = []
    for stride, repeats in version.anchors:
        steps = (np.arange(version.side // stride) + 0.5) * stride
        rows, columns = np.meshgrid(steps, steps, indexing="ij")
        maps.append(np.repeat(np.stack([columns, rows], axis=-1).reshape(-1, 2), repeats, axis=0))
    return np.concatenate(maps)
