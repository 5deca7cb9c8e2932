"""The 106 points of insightface's network 2d106det, and which of them are iBUG's 68.

The order is the one of the published network, drawn in the project's picture 2d106markup.jpg. The table is the one that
DMDNet, DeepFaceLive and other programs use with it: the same 68 points in each, but for averages of two neighbours that
DeepFaceLive takes along jaw, brows and nose. Along the jaw the network has 33 points, of which every second one is
taken, and along each brow an upper and a lower edge, of which iBUG has the upper one.
"""

import numpy as np
from jaxtyping import Float

N_POINTS = 106
JAW = (1, *range(9, 17), *range(2, 9), 0, *range(24, 17, -1), *range(32, 24, -1), 17)  # from ear to ear, 33 points
FROM_106 = (
    *JAW[::2],
    *(43, 48, 49, 51, 50),  # brow on the left of the picture
    *(102, 103, 104, 105, 101),
    *(72, 73, 74, 86),  # bridge of the nose
    *(78, 79, 80, 85, 84),
    *(35, 41, 42, 39, 37, 36),  # eye on the left of the picture
    *(89, 95, 96, 93, 91, 90),
    *(52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55),  # outline of the mouth
    *(65, 66, 62, 70, 69, 57, 60, 54),
)
"""Index of each of iBUG's 68 points among the 106."""


def to_ibug(points: Float[np.ndarray, "106 2"]) -> Float[np.ndarray, "68 2"]:
    """Take iBUG's 68 points out of the 106."""
    return points[list(FROM_106)]
