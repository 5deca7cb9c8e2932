"""Types that many laws of synthetic faces are made of."""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import AfterValidator, Field

from focus_ray.focus.landmarks import GROUPS, N_LANDMARKS

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1: how often, or how much of something."""


def _known(bias: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    if unknown := sorted(set(bias) - set(GROUPS)):
        raise ValueError(f"there are no landmarks {', '.join(unknown)}; known are {', '.join(GROUPS)}")
    return bias


LandmarkBias = Annotated[dict[str, tuple[float, float]], AfterValidator(_known)]
"""How far a landmark detector is always off: (x, y) in px at 224, by group of landmarks."""


def landmark_shift(bias: LandmarkBias) -> Float[np.ndarray, "68 2"]:
    """The bias of each landmark, px at 224."""
    shift = np.zeros((N_LANDMARKS, 2))
    for group, offset in bias.items():
        shift[list(GROUPS[group])] = offset
    return shift
