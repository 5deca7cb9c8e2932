"""The 68 iBUG landmarks: their groups, their mirror order, and the five points used for alignment.

Sides are the subject's: the right eye is at the left of the image.
"""

from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

N_LANDMARKS = 68

JAW = tuple(range(17))
RIGHT_BROW = tuple(range(17, 22))
LEFT_BROW = tuple(range(22, 27))
NOSE_RIDGE = tuple(range(27, 31))
NOSE_BASE = tuple(range(31, 36))
RIGHT_EYE = tuple(range(36, 42))
LEFT_EYE = tuple(range(42, 48))
OUTER_LIP = tuple(range(48, 60))
INNER_LIP = tuple(range(60, 68))

BROWS = RIGHT_BROW + LEFT_BROW
NOSE = NOSE_RIDGE + NOSE_BASE
EYES = RIGHT_EYE + LEFT_EYE
MOUTH = OUTER_LIP + INNER_LIP
INNER_POINTS = BROWS + NOSE + EYES + MOUTH
"""The 51 points without the jaw line."""

LANDMARK_GROUPS: dict[str, tuple[int, ...]] = {
    "jaw": JAW,
    "right_brow": RIGHT_BROW,
    "left_brow": LEFT_BROW,
    "nose_ridge": NOSE_RIDGE,
    "nose_base": NOSE_BASE,
    "right_eye": RIGHT_EYE,
    "left_eye": LEFT_EYE,
    "outer_lip": OUTER_LIP,
    "inner_lip": INNER_LIP,
}

RIGHT_EYE_CORNERS = (36, 39)
LEFT_EYE_CORNERS = (42, 45)
NOSE_TIP = 30
RIGHT_MOUTH_CORNER = 48
LEFT_MOUTH_CORNER = 54

# Pairs (or chains read from both ends) that a mirror exchanges; a point on the midline is its own partner.
_MIRRORED_CHAINS = (
    JAW,
    BROWS,
    NOSE_BASE,
    (36, 37, 38, 39, 42, 43, 44, 45),
    (41, 40, 47, 46),
    tuple(range(48, 55)),
    (59, 58, 57, 56, 55),
    tuple(range(60, 65)),
    (67, 66, 65),
)


def _mirror_order() -> tuple[int, ...]:
    order = list(range(N_LANDMARKS))
    pairs = chain.from_iterable(zip(points, reversed(points), strict=True) for points in _MIRRORED_CHAINS)
    for point, partner in pairs:
        order[point] = partner
    return tuple(order)


FLIP = _mirror_order()
"""In the mirrored picture, landmark i is landmark FLIP[i] of the original."""


def five_points(landmarks: Float[Tensor, "*batch 68 D"]) -> Float[Tensor, "*batch 5 D"]:
    """Return right eye, left eye, nose tip, right and left mouth corner of 68 landmarks.

    The centre of an eye is the middle of its two corners, as in the alignments of ArcFace and Deep3D.

    Args:
        landmarks: iBUG order, in any unit.

    Returns:
        The five points, in the unit of the landmarks.
    """
    right_eye = landmarks[..., RIGHT_EYE_CORNERS, :].mean(dim=-2)
    left_eye = landmarks[..., LEFT_EYE_CORNERS, :].mean(dim=-2)
    others = [landmarks[..., point, :] for point in (NOSE_TIP, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER)]
    return torch.stack([right_eye, left_eye, *others], dim=-2)
