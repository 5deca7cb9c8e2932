"""Types that the distributions of synthetic faces share."""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

from focus_ray.face_models.landmarks import LANDMARK_GROUPS, N_LANDMARKS
from focus_ray.settings import Settings

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1: a probability or a share."""

Offset = tuple[float, float]


class LandmarkBias(Settings):
    """Systematic error added to a landmark detector, by group of landmarks: (x, y) in px at 224."""

    jaw: Offset = (0.0, 0.0)
    right_brow: Offset = (0.0, 0.0)
    left_brow: Offset = (0.0, 0.0)
    nose_ridge: Offset = (0.0, 0.0)
    nose_base: Offset = (0.0, 0.0)
    right_eye: Offset = (0.0, 0.0)
    left_eye: Offset = (0.0, 0.0)
    outer_lip: Offset = (0.0, 0.0)
    inner_lip: Offset = (0.0, 0.0)

    def shift(self) -> Float[np.ndarray, "68 2"]:
        """Return the offset of each landmark, px at 224."""
        shift = np.zeros((N_LANDMARKS, 2))
        for group, landmarks in LANDMARK_GROUPS.items():
            shift[list(landmarks)] = getattr(self, group)
        return shift
