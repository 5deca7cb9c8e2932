"""Lips and the inside of the mouth: contours for x >= 0, and a pocket with teeth behind the slit."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from focus_ray.face_models.parametric.surface import Array

CORNER = (25.0, -38.4)
SLIT_HALF_GAP = 0.12
"""Half the gap (mm) that the chart leaves between the lips at the midline."""

_MOUTH_LINE = PchipInterpolator([-40, -25, -15, -6, 0, 6, 15, 25, 40], [-39.5, -38.4, -37.6, -37.6, -38.2,
                                                                      -37.6, -37.6, -38.4, -39.5])  # fmt: skip
_UPPER_BORDER = PchipInterpolator([0, 2.2, 5.6, 14, 21, 25], [-32.6, -32.0, -30.9, -33.0, -36.3, -38.4])
_LOWER_BORDER = PchipInterpolator([0, 5, 12, 19, 25], [-48.0, -47.7, -45.6, -41.9, -38.4])


def mouth_line(x: Array) -> Array:
    """Compute the height of the line between the lips, continued outside the corners.

    Args:
        x: frontal x, mm.

    Returns:
        Frontal y, mm.
    """
    return _MOUTH_LINE(np.clip(x, -40, 40))


def inner_contour(x: Array, upper: bool) -> Array:
    """Compute the height of a lip's inner edge.

    Args:
        x: frontal x, mm, from 0 to the corner.
        upper: True for the upper lip, False for the lower.

    Returns:
        Frontal y, mm.
    """
    gap = SLIT_HALF_GAP * (1 - (x / CORNER[0]) ** 2)
    return mouth_line(x) + (gap if upper else -gap)


def lip_row(x: Array, upper: bool, fraction: float) -> Array:
    """Compute the height of a row of a lip.

    Args:
        x: frontal x, mm.
        upper: True for the upper lip, False for the lower.
        fraction: 0 at the inner edge, 1 at the border of the red, larger beyond it.

    Returns:
        Frontal y, mm.
    """
    border = (_UPPER_BORDER if upper else _LOWER_BORDER)(np.clip(x, 0, CORNER[0]))
    inner = inner_contour(x, upper)
    return inner + fraction * (border - inner)


@dataclass(frozen=True)
class PocketRow:
    """One row of the inside of the mouth: its offset from the slit, and its motion in expressions.

    A row follows `upper` times the upper lip's edge plus `lower` times the lower lip's edge.

    Attributes:
        down: offset along -y at the midline, mm.
        back: offset along -z at the midline, mm.
        narrow: scale of x.
    """

    name: str
    down: float
    back: float
    narrow: float
    upper: float
    lower: float


POCKET = (
    PocketRow("gum", -1.5, 3.5, 0.98, 1.0, 0.0),
    PocketRow("tooth root", -1.2, 5.0, 0.93, 0.0, 0.0),
    PocketRow("tooth", 3.0, 5.0, 0.92, 0.0, 0.0),
    PocketRow("tooth edge", 6.0, 5.5, 0.90, 0.0, 0.0),
    PocketRow("palate", 6.3, 7.5, 0.88, 0.0, 0.0),
    PocketRow("back", 5.0, 22.0, 0.7, 0.0, 0.35),
    PocketRow("floor", 5.5, 9.0, 0.88, 0.0, 1.0),
    PocketRow("lower lip's inside", 2.0, 4.0, 0.97, 0.0, 1.0),
)
"""From the upper lip's edge round the inside to the lower lip's edge."""


def pocket_vertices(slit: Array) -> Array:
    """Compute the vertices of the pocket.

    The rows close on the mouth's corner, so their depth tapers towards it.

    Args:
        slit: [columns, 3] middle line of the slit, from the midline, mm.

    Returns:
        [rows, columns, 3] vertices, mm, in the order of POCKET.
    """
    taper = np.sqrt(np.maximum(1 - (slit[:, 0] / CORNER[0]) ** 2, 0))[:, None]
    rows = []
    for row in POCKET:
        offset = taper * np.array([0.0, -row.down, -row.back]) - np.array([0.0, 0.0, 0.4])
        rows.append(slit * np.array([row.narrow, 1.0, 1.0]) + offset)
    return np.stack(rows)
