"""Crop of a scan: a sphere around the face (method 8.6, step 1)."""

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import LEFT_INNER_EYE, LEFT_OUTER_EYE, NOSE_BOTTOM, RIGHT_INNER_EYE, RIGHT_OUTER_EYE

# As in the public evaluation: position of the centre between nose bottom (0) and bridge (1), factor of the radius.
_UPWARDS, _WIDTH = 0.3, 1.4


def face_sphere(landmarks: Float[np.ndarray, "7 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Compute the sphere around the face from the scan's landmarks.

    centre = nose bottom + 0.3 (bridge - nose bottom), radius = 1.4 (|outer eye corners| + |bridge - nose bottom|) / 2;
    the bridge is the middle of the inner eye corners.

    Args:
        landmarks: seven points on the scan, mm.

    Returns:
        (centre, radius), mm.
    """
    nose = landmarks[NOSE_BOTTOM]
    bridge = (landmarks[RIGHT_INNER_EYE] + landmarks[LEFT_INNER_EYE]) / 2
    width = np.linalg.norm(landmarks[RIGHT_OUTER_EYE] - landmarks[LEFT_OUTER_EYE])
    return nose + _UPWARDS * (bridge - nose), float(_WIDTH * (width + np.linalg.norm(bridge - nose)) / 2)


def crop_to_face(vertices: Float[np.ndarray, "V 3"], landmarks: Float[np.ndarray, "7 3"]) -> Float[np.ndarray, "N 3"]:
    """Select the vertices of a scan inside the face sphere.

    Args:
        vertices: vertices of the scan, mm.
        landmarks: seven points on the scan, mm.

    Returns:
        The vertices in or on the sphere, in their order, mm.
    """
    centre, radius = face_sphere(landmarks)
    return vertices[np.linalg.norm(vertices - centre, axis=1) <= radius]
