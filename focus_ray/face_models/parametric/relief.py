"""The features of the mean face, as relief (mm, along z) on the base surface."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from focus_ray.face_models.parametric.eyes import LID_THICKNESS, eyeball_height
from focus_ray.face_models.parametric.mouth import CORNER, mouth_line
from focus_ray.face_models.parametric.surface import Array


@dataclass(frozen=True)
class Bump:
    """A Gaussian hill (or dip, when the height is negative) at (+-x, y) mm, turned by `turn` degrees."""

    name: str
    x: float
    y: float
    radius_x: float
    radius_y: float
    height: float
    turn: float = 0.0


BUMPS = (
    Bump("eye socket", 30.0, 30.0, 17.0, 11.0, -12.3),
    Bump("inner corner", 15.5, 28.0, 6.5, 8.0, -5.6),
    Bump("outer corner", 50.0, 27.0, 8.0, 9.0, -2.0),
    Bump("brow ridge", 28.0, 47.0, 20.0, 6.0, 2.3, 8.0),
    Bump("glabella", 0.0, 45.0, 11.0, 10.0, 2.6),
    Bump("forehead boss", 26.0, 74.0, 24.0, 18.0, 1.6),
    Bump("temple", 62.0, 48.0, 13.0, 20.0, -3.0),
    Bump("cheek bone", 47.0, 5.0, 14.0, 10.0, 4.0, -20.0),
    Bump("cheek apple", 31.0, -4.0, 13.0, 11.0, 2.4),
    Bump("tear trough", 21.0, 17.0, 8.0, 4.0, -1.2, -30.0),
    Bump("cheek hollow", 47.0, -28.0, 13.0, 14.0, -2.2),
    Bump("nasolabial fold", 26.5, -22.0, 3.6, 13.0, -1.7, 28.0),
    Bump("muzzle", 0.0, -32.0, 21.0, 15.0, 5.0),
    Bump("mouth corner", 27.0, -39.0, 9.0, 7.5, -4.8),
    Bump("marionette", 28.0, -49.0, 4.0, 8.0, -0.9, 12.0),
    Bump("below lip", 0.0, -54.0, 15.0, 6.0, -2.2),
    Bump("chin", 0.0, -70.0, 15.0, 12.0, 4.5),
    Bump("chin side", 21.0, -68.0, 9.0, 10.0, -1.0),
    Bump("jowl", 40.0, -58.0, 12.0, 10.0, 1.2),
    Bump("philtrum", 0.0, -26.0, 3.2, 6.5, -0.9),
    Bump("philtral column", 4.8, -26.5, 2.6, 6.0, 0.4),
)

NOSE_BUMPS = (
    Bump("tip", 0.0, -5.5, 8.5, 7.5, 2.6),
    Bump("ala", 13.2, -12.0, 5.0, 6.0, 9.0),
    Bump("alar groove", 18.8, -9.0, 2.6, 6.5, -1.8, -14.0),
    Bump("supra-alar dip", 11.5, -2.5, 4.0, 3.5, -1.2),
    Bump("nostril", 6.8, -16.2, 3.2, 2.1, -3.2, -18.0),
    Bump("columella", 0.0, -15.8, 3.0, 3.5, 2.0),
)

# Height (mm) of the nose's ridge above the base surface and its half width, from below the nose to the brow.
_RIDGE = PchipInterpolator(
    [-30, -23, -18.5, -14.5, -10.5, -6, -1, 6, 14, 22, 29, 35, 42, 50],
    [0, 0.8, 4.5, 11.5, 17.5, 20.0, 18.8, 14.8, 10.6, 6.6, 3.2, 1.6, 0.8, 0],
)
_RIDGE_WIDTH = PchipInterpolator([-30, -18, -12, -5, 4, 14, 24, 34, 50], [11, 11, 11.5, 11.0, 10.0, 8.6, 7.8, 8.6, 12])
_RIDGE_SHARPNESS = 2.1

_UPPER_LIP, _LOWER_LIP = 3.6, 4.0
_LIP_WIDTH = CORNER[0] * 1.02
_LID_BLEND = 0.9
"""Width (mm) of the smooth maximum of skin and lids over the eyeball."""


def relief(x: Array, y: Array, base_z: Array) -> Array:
    """Compute the depth of the skin.

    Args:
        x: frontal x, mm.
        y: frontal y, mm.
        base_z: depth of the base surface at (x, y), mm.

    Returns:
        Depth z, mm.
    """
    side = np.abs(x)
    z = base_z + _bumps(BUMPS, side, y) + _nose(side, y) + _lips(side, y)
    return _blend_over_eyeball(side, y, z)


def _bumps(bumps: tuple[Bump, ...], side: Array, y: Array) -> Array:
    total = np.zeros_like(side)
    for bump in bumps:
        total += bump.height * bump_window(bump, side, y)
    return total


def bump_window(bump: Bump, side: Array, y: Array) -> Array:
    """Compute the hill's shape without its height.

    Args:
        bump: the hill.
        side: |x|, mm.
        y: frontal y, mm.

    Returns:
        Factor in [0, 1], 1 at the hill's centre.
    """
    cosine, sine = np.cos(np.radians(bump.turn)), np.sin(np.radians(bump.turn))
    dx, dy = side - bump.x, y - bump.y
    along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
    return np.exp(-((along / bump.radius_x) ** 2) - (across / bump.radius_y) ** 2)


def _nose(side: Array, y: Array) -> Array:
    level = np.clip(y, -30, 50)
    ridge = _RIDGE(level) * np.exp(-((side / _RIDGE_WIDTH(level)) ** _RIDGE_SHARPNESS))
    return ridge + _bumps(NOSE_BUMPS, side, y)


def _lips(side: Array, y: Array) -> Array:
    """Two rolls that meet in the line of the mouth and fade at its corners."""
    height = y - mouth_line(side)
    along = np.maximum(1 - (side / _LIP_WIDTH) ** 2, 0) ** 0.75
    upper = _UPPER_LIP * _roll(height / 6.6)
    lower = _LOWER_LIP * _roll(-height / 10.0)
    groove = -2.4 * np.exp(-((height / 1.6) ** 2))
    return along * (np.where(height > 0, upper, lower) + groove)


def _roll(fraction: Array) -> Array:
    """A hill between the slit (0) and the border of the red (1)."""
    return np.exp(-(((fraction - 0.5) / 0.48) ** 2))


def _blend_over_eyeball(side: Array, y: Array, z: Array) -> Array:
    lid = eyeball_height(side, y) + LID_THICKNESS
    return _LID_BLEND * np.logaddexp(z / _LID_BLEND, lid / _LID_BLEND)
