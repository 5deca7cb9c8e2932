"""The smooth base surface of the head's front: named knot rows, without any feature on it.

A row is the horizontal section of the head at one level v. It is a superellipse between the midline and the side:

    x = W sin(phi),  y = y_mid + (y_side - y_mid) t^2,  z = z_side + (z_mid - z_side) (1 - t^n)^(1/n),  t = |sin(phi)|

and W, y_mid, y_side, z_mid, z_side and n are monotone cubic in v. The chart is (s, v) in mm with s = HALF_WIDTH phi.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]

HALF_WIDTH = 72.0
"""Half width of the head at the eyes (mm): turns the angle phi into a length s."""

_INVERSION_STEPS = 40


@dataclass(frozen=True)
class KnotRow:
    """One knot row (mm): level v, the midline's height and depth, the side's, the half width and the exponent."""

    name: str
    v: float
    y_mid: float
    z_mid: float
    y_side: float
    z_side: float
    half_width: float
    exponent: float


ROWS = (
    KnotRow("throat", -132.0, -95.0, -30.0, -74.0, -44.0, 45.0, 1.95),
    KnotRow("under chin", -108.0, -91.0, -4.0, -68.0, -46.0, 49.0, 1.95),
    KnotRow("menton", -88.0, -84.5, 20.0, -61.0, -49.0, 54.0, 2.0),
    KnotRow("chin", -72.0, -72.0, 29.5, -52.0, -52.0, 58.4, 2.05),
    KnotRow("below lip", -54.0, -54.0, 31.0, -42.0, -56.0, 63.4, 2.12),
    KnotRow("lips", -38.0, -38.0, 33.0, -31.0, -58.0, 67.0, 2.2),
    KnotRow("nose base", -20.0, -20.0, 33.5, -17.0, -60.0, 70.0, 2.28),
    KnotRow("cheek", 0.0, 0.0, 32.0, 1.0, -60.0, 71.5, 2.36),
    KnotRow("eye", 29.0, 29.0, 30.0, 29.0, -60.0, 72.0, 2.42),
    KnotRow("brow", 46.0, 46.0, 33.0, 46.0, -60.0, 72.0, 2.42),
    KnotRow("forehead", 74.0, 74.0, 30.0, 72.0, -62.0, 69.5, 2.35),
    KnotRow("hair line", 100.0, 98.0, 14.0, 85.0, -64.0, 62.0, 2.2),
    KnotRow("crown", 118.0, 111.0, -10.0, 92.0, -68.0, 50.0, 2.1),
)

_LEVELS = np.array([row.v for row in ROWS])
_TABLE = np.array([(r.y_mid, r.z_mid, r.y_side, r.z_side, r.half_width, r.exponent) for r in ROWS])
_ROW_AT = PchipInterpolator(_LEVELS, _TABLE, extrapolate=True)


def base_surface(s: Array, v: Array) -> tuple[Array, Array, Array]:
    """Compute the base surface at chart points.

    Args:
        s: chart coordinate across, mm.
        v: chart coordinate along, mm.

    Returns:
        x, y and z, mm.
    """
    y_mid, z_mid, y_side, z_side, half_width, exponent = np.moveaxis(_ROW_AT(v), -1, 0)
    sine = np.sin(s / HALF_WIDTH)
    t = np.abs(sine)
    bulge = np.maximum(1 - t**exponent, 0) ** (1 / exponent)
    return half_width * sine, y_mid + (y_side - y_mid) * t**2, z_side + (z_mid - z_side) * bulge


def to_chart(x: Array, y: Array) -> tuple[Array, Array]:
    """Compute the chart point of a frontal position by fixed-point inversion, for the face's front only.

    Args:
        x: frontal x, mm.
        y: frontal y, mm.

    Returns:
        s and v, mm.
    """
    v = np.array(y, dtype=np.float64)
    s = np.zeros_like(v)
    for _ in range(_INVERSION_STEPS):
        half_width = _ROW_AT(v)[..., 4]
        s = HALF_WIDTH * np.arcsin(np.clip(x / half_width, -1, 1))
        v = v + 0.7 * (y - base_surface(s, v)[1])
    return s, v
