"""MediaPipe's face mesh (Kartynnik et al., 2019): 468 points of the face in a square view, by OpenCV's dnn module."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from focus_ray.data.align import Crop, rotated_view

SIDE = 192  # px: width and height of the network's input
POINTS = 468
_ROI_SCALE = 1.5  # side of the view over the longer side of the face's box
_PIXEL_CENTRE = 0.5  # the network counts px from the edge of the first pixel, we from its centre
_RIGHT_EYE_CORNER, _LEFT_EYE_CORNER = 33, 263  # outer corners

# The point of the mesh for each of iBUG's 68 points: of two tables that are in use, for each pair of points the nearer
# one on 16 photographs with landmarks of another regressor. Mean distance 2.57 % of sqrt(w h); the two tables have 3.12
# and 2.78 %.
IBUG_OF_MESH = np.array(
    [
        *(127, 234, 93, 132, 172, 136, 150, 176, 152, 400, 379, 365, 397, 361, 323, 454, 356),  # jaw
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
        *(6, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),  # mouth
    ]
)


class MeshPoints(NamedTuple):
    """The points of a face [px of the picture], and the probability that the view holds a face."""

    points: Float[np.ndarray, "468 2"]
    presence: float

    @property
    def landmarks(self) -> Float[np.ndarray, "68 2"]:
        """The 68 points in iBUG's order."""
        return self.points[IBUG_OF_MESH]


class FaceMesh:
    """The network of the 468 points. It has scratch memory: use one per thread.

    Args:
        weights: content of its .tflite file.
    """

    def __init__(self, weights: bytes):
        self._network = cv2.dnn.readNetFromTFLite(np.frombuffer(weights, np.uint8))
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def locate(self, image: UInt8[np.ndarray, "H W 3"], view: Crop) -> MeshPoints:
        """Locate the points of the face in a view.

        Args:
            image: upright RGB.
            view: square view of SIDE px with one upright face: see `view_of_box` and `view_of_points`.
        """
        seen = view.warp(image).astype(np.float32) / 255.0
        self._network.setInput(np.ascontiguousarray(seen.transpose(2, 0, 1)[None]))
        found = {output.size: output.reshape(-1).astype(np.float64) for output in self._network.forward(self._outputs)}
        points = found[3 * POINTS].reshape(POINTS, 3)[:, :2] - _PIXEL_CENTRE
        return MeshPoints(view.to_image(points), float(1.0 / (1.0 + np.exp(-found[1][0]))))


def view_of_box(centre: Float[np.ndarray, " 2"], side: float, roll: float) -> Crop:
    """Return the view for a detected box.

    Args:
        centre: of the box, px of the picture.
        side: longer side of the box, px.
        roll: rotation of the face, rad, clockwise as seen.
    """
    x, y = centre.tolist()
    return rotated_view(x, y, SIDE / (_ROI_SCALE * side), float(np.degrees(roll)), SIDE)


def view_of_points(points: Float[np.ndarray, "468 2"]) -> Crop:
    """Return the view for points that were found before: upright by the eyes, about their box.

    Args:
        points: px of the picture.
    """
    across = points[_LEFT_EYE_CORNER] - points[_RIGHT_EYE_CORNER]
    roll = float(np.arctan2(across[1], across[0]))
    upright = rotated_view(0.0, 0.0, 1.0, float(np.degrees(roll)), 1)
    turned = upright.to_crop(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    return view_of_box(upright.to_image((low + high) / 2), float((high - low).max()), roll)
