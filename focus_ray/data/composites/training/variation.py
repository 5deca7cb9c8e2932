"""Changes of a photograph under which a face stays a face: light, cast shadows, make-up, colours, camera."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from focus_ray.data.composites.training.camera_effects import apply_camera
from focus_ray.data.composites.training.lighting import draw_light
from focus_ray.data.composites.training.makeup import draw_makeup
from focus_ray.data.occluders.drawing import FaceFrame

_UNCHANGED = 0.34  # with the draws that choose nothing: about 0.35


def vary_photo(
    rng: Generator, rgb: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Change a photograph as light, make-up and cameras do; what is face stays face, and no point moves.

    Args:
        rng: random generator.
        rgb: photograph.
        landmarks: px of the photograph, iBUG order.

    Returns:
        The changed photograph; about 35 % are returned as they are.
    """
    if rng.uniform() < _UNCHANGED:
        return rgb
    for factor in (draw_makeup(rng, rgb.shape[:2], landmarks), draw_light(rng, rgb.shape[:2], landmarks)):
        if factor is not None:
            rgb = cv2.multiply(rgb, np.ascontiguousarray(factor), dtype=cv2.CV_8U)
    return apply_camera(rng, rgb, FaceFrame.from_landmarks(landmarks).unit)
