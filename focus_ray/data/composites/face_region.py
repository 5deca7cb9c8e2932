"""Region of a face in a photograph: the hull of its 68 landmarks, extended over the forehead."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from focus_ray.face_models.landmarks import BROWS

_CHIN, _NOSE_BRIDGE = 8, 27
_FOREHEAD = 0.5  # height of the forehead above the brows, as a share of the distance from chin to nose bridge
_SUBPIXEL_BITS = 4


def face_region(landmarks: Float[np.ndarray, "68 2"], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Compute the region of a face from its landmarks.

    Args:
        landmarks: px of the picture, iBUG order.
        height: height of the picture, px.
        width: width of the picture, px.

    Returns:
        True inside the hull of the landmarks and the forehead.
    """
    forehead = landmarks[list(BROWS)] + _FOREHEAD * (landmarks[_NOSE_BRIDGE] - landmarks[_CHIN])
    points = np.concatenate([landmarks, forehead]) * (1 << _SUBPIXEL_BITS)
    region = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(np.rint(points).astype(np.int32)), 1, shift=_SUBPIXEL_BITS)
    return region > 0
