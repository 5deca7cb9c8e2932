"""Crop of a scan: a sphere around the face (method 8.6, step 1)."""

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import LEFT_INNER_EYE, LEFT_OUTER_EYE, NOSE_BOTTOM, RIGHT_INNER_EYE, RIGHT_OUTER_EYE

# Of the public evaluation: how far from the nose bottom towards the eyes the centre lies, and the radius's factor.
_UPWARDS, _WIDTH = 0.3, 1.4


def face_sphere(landmarks: Float[np.ndarray, "7 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Centre and radius of the sphere, in mm, from the scan's landmarks.

    centre = nose bottom + 0.3 (bridge - nose bottom), radius = 1.4 (|outer eye corners| + |bridge - nose bottom|) / 2;
    the bridge is the middle of the inner eye corners.
    """
    nose = landmarks[NOSE_BOTTOM]
    bridge = (landmarks[RIGHT_INNER_EYE] + landmarks[LEFT_INNER_EYE]) / 2
    width = np.linalg.norm(landmarks[RIGHT_OUTER_EYE] - landmarks[LEFT_OUTER_EYE])
    return nose + _UPWARDS * (bridge - nose), float(_WIDTH * (width + np.linalg.norm(bridge - nose)) / 2)


def crop_to_face(vertices: Float[np.ndarray, "V 3"], landmarks: Float[np.ndarray, "7 3"]) -> Float[np.ndarray, "N 3"]:
    """The scan's vertices within the sphere, its border included, in their order."""
    centre, radius = face_sphere(landmarks)
    return vertices[np.linalg.norm(vertices - centre, axis=1) <= radius]
