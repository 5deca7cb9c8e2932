"""Outlines that some families are cut to: in a whole photograph a hat ends at the head and a scarf at the neck.

The families are drawn for aligned crops, where these occluders reach the picture's border.
"""

import numpy as np

from focus_ray.data.occluders.drawing import FaceFrame, Landmarks, Mask, Points, ellipse, fill_polygons

_HALF_WIDTH = 1.15  # of a face seen from the front, from the middle to an ear
_SCARF_SIDE = np.array([[1.3, -0.4], [1.22, 1.2], [1.05, 2.0], [1.2, 2.6], [0.7, 3.0]])

_OUTLINES: dict[str, Points] = {
    "cap": ellipse(np.array([[0.0, -0.4]]), (1.6, 1.85), power=2.3),
    "hair": ellipse(np.array([[0.0, 0.45]]), (1.55, 2.5), power=2.2),
    "scarf": np.concatenate([_SCARF_SIDE, _SCARF_SIDE[::-1] * [-1.0, 1.0]]),
}
"""By family, in units of the face's frame, for a face seen from the front."""


def family_outline(family: str, landmarks: Landmarks, side: int) -> Mask | None:
    """Draw the area that a family may cover.

    Args:
        family: family of occluders.
        landmarks: px of the canvas, iBUG order.
        side: side of the canvas, px.

    Returns:
        1 inside the area; None if the family is not cut.
    """
    if family not in _OUTLINES:
        return None
    frame = FaceFrame.from_landmarks(landmarks)
    ears = (landmarks[[0, 16]] - frame.origin) @ frame.axes[0] / frame.unit  # a turned head is narrower, off-centre
    width = np.array([abs(ears[1] - ears[0]) / (2 * _HALF_WIDTH), 1.0])
    return fill_polygons(side, frame.to_pixels(_OUTLINES[family] * width + [ears.mean(), 0.0]))
