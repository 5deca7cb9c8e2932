"""Displacement fields over the template, from which identity and expressions are composed.

Every field is linear, so one standard deviation of a named parameter is its field once. A field moves vertices,
and with them the paint and the landmarks on them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.surface import Array
from focus_ray.face_models.parametric.template import EYEBALL, POCKET, WATERLINE, Template

Side = Literal["both", "left", "right"]
Lips = Literal["both", "upper", "lower"]

_MIDLINE_SOFTNESS = 5.0  # mm over which a mirrored sideways motion changes its sign
_JAW_HINGE_Y, _JAW_HINGE_Z = 0.0, -50.0
_JAW_SOFTNESS, _JAW_SPREAD, _JAW_SPREAD_FROM = 0.25, 0.5, 21.0
_JAW_BACK, _JAW_BACK_SOFTNESS = -30.0, 9.0
_LID_FADE, _LID_EDGE = 8.5, 1.0
_LIP_EDGE = 1.0  # mm of assumed distance between the lips' edges and the mouth line
_ROUND_RADIUS = 6.3  # mm, a little more than the iris


@dataclass(frozen=True)
class Push:
    """Translation of the vertices within `radius` of `at`, with a Gaussian falloff.

    Attributes:
        at: frontal position, mm, x >= 0.
        radius: along x and y, mm.
        move: mm, x away from the midline.
        side: the subject's side that moves.
        lips: "lower" moves only what the jaw carries, "upper" only the rest.
    """

    at: tuple[float, float]
    radius: tuple[float, float]
    move: tuple[float, float, float]
    side: Side = "both"
    lips: Lips = "both"

    def __call__(self, face: Template) -> Array:
        window = _window(face, self.at, self.radius, self.side) * _lip_weight(face, self.lips)
        return window[:, None] * self.move * _outwards(face)


@dataclass(frozen=True)
class Stretch:
    """Scaling of the vertices within `radius` of `at` about that point, with a Gaussian falloff.

    Attributes:
        at: frontal position, mm, x >= 0.
        radius: along x and y, mm.
        rate: relative change of length along x, y and z.
        depth: z of the fixed point, mm.
        side: the subject's side that moves.
        lips: "lower" moves only what the jaw carries, "upper" only the rest.
    """

    at: tuple[float, float]
    radius: tuple[float, float]
    rate: tuple[float, float, float]
    depth: float = 0.0
    side: Side = "both"
    lips: Lips = "both"

    def __call__(self, face: Template) -> Array:
        window = _window(face, self.at, self.radius, self.side) * _lip_weight(face, self.lips)
        offset = np.column_stack([face.side, face.vertices[:, 1:]]) - [*self.at, self.depth]
        return window[:, None] * offset * self.rate * _outwards(face)


@dataclass(frozen=True)
class Turn:
    """Rotation of the vertices within `radius` of `at` in the frontal plane, with a Gaussian falloff.

    Attributes:
        at: frontal position, mm, x >= 0.
        radius: along x and y, mm.
        degrees: positive lifts the outer end.
        side: the subject's side that moves.
    """

    at: tuple[float, float]
    radius: tuple[float, float]
    degrees: float
    side: Side = "both"

    def __call__(self, face: Template) -> Array:
        window = _window(face, self.at, self.radius, self.side) * np.radians(self.degrees)
        dx, dy = face.side - self.at[0], face.vertices[:, 1] - self.at[1]
        return np.column_stack([-window * dy, window * dx, np.zeros_like(dx)]) * _outwards(face)


@dataclass(frozen=True)
class Jaw:
    """Rotation of the lower jaw about its hinge by `open_degrees`, plus a `shift` (mm)."""

    open_degrees: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, face: Template) -> Array:
        y, z = face.vertices[:, 1] - _JAW_HINGE_Y, face.vertices[:, 2] - _JAW_HINGE_Z
        turn = np.radians(self.open_degrees) * np.column_stack([np.zeros_like(y), -z, y])
        return jaw_weight(face)[:, None] * (turn + self.shift)


@dataclass(frozen=True)
class Blink:
    """Closing of a lid by the share `amount` of the eye's opening, along the eyeball's surface."""

    amount: float
    side: Side = "both"
    lid: Literal["upper", "lower"] = "upper"

    def __call__(self, face: Template) -> Array:
        x, y = face.side, face.vertices[:, 1]
        width = eyes.OUTER_CORNER[0] - eyes.INNER_CORNER[0]
        fraction = np.clip((x - eyes.INNER_CORNER[0]) / width, 0, 1)
        upper, lower = (eyes.lid_contour(fraction, upper=is_upper)[1] for is_upper in (True, False))
        distance, travel = (y - upper, lower - upper) if self.lid == "upper" else (lower - y, upper - lower)
        # Vertices of the other lid lie beyond the opening, where nothing moves.
        weight = np.exp(-((distance / np.where(distance > 0, _LID_FADE, _LID_EDGE)) ** 2))
        dy = travel * weight * _on_side(face, self.side)
        dz = eyes.eyeball_height(x, y + dy) - eyes.eyeball_height(x, y)
        return self.amount * np.column_stack([np.zeros_like(x), dy, weight * dz])


@dataclass(frozen=True)
class Gaze:
    """Rotation of both eyeballs, in degrees to the subject's left and upwards."""

    left: float = 0.0
    up: float = 0.0

    def __call__(self, face: Template) -> Array:
        field = np.zeros_like(face.vertices)
        for sign in (-1, 1):
            ball = face.eyeball(sign)
            centre = np.array([sign * eyes.EYE_CENTRE[0], eyes.EYE_CENTRE[1], eyes.EYEBALL_APEX - eyes.EYEBALL_RADIUS])
            dx, dy, dz = (face.vertices[ball] - centre).T
            left, up = np.radians(self.left), np.radians(self.up)
            field[ball] = np.column_stack([left * dz, up * dz, -left * dx - up * dy])
        return field


Field = Push | Stretch | Turn | Jaw | Blink | Gaze


def evaluate_fields(fields: tuple[Field, ...], face: Template) -> Array:
    """Compute the sum [V, 3] (mm) of the fields."""
    return sum((field(face) for field in fields), np.zeros_like(face.vertices))


def jaw_weight(face: Template) -> Array:
    """Compute the share of the jaw's motion that each vertex follows.

    The transition is hard at the slit, soft beyond the corners and towards the ear.

    Returns:
        Weights [V]: 1 on the lower jaw, 0 elsewhere.
    """
    height = face.vertices[:, 1] - mouth.mouth_line(face.side) + face.lip * _LIP_EDGE
    softness = _JAW_SOFTNESS + _JAW_SPREAD * np.maximum(face.side - _JAW_SPREAD_FROM, 0)
    below = 0.5 * (1 - np.tanh(height / softness))
    front = 1 / (1 + np.exp(-(face.vertices[:, 2] - _JAW_BACK) / _JAW_BACK_SOFTNESS))
    return below * front


def propagate_identity(face: Template, field: Array) -> Array:
    """Make waterline, eyeballs and the inside of the mouth follow the skin around them, as in identity.

    Args:
        face: template of the vertices.
        field: displacement [V, 3], mm.

    Returns:
        A copy of the field with those vertices' displacements replaced, mm.
    """
    field = field.copy()
    for sign in (-1, 1):
        _follow_lids(face, field, sign)
    _follow_waterline(face, field)
    inside = face.kind == POCKET
    field[inside] = (field[face.anchor_upper[inside]] + field[face.anchor_lower[inside]]) / 2
    return field


def propagate_expression(face: Template, field: Array, gaze: Array) -> Array:
    """Make waterline and the inside of the mouth follow lids and lips; eyeballs only turn by `gaze`.

    Args:
        face: template of the vertices.
        field: displacement [V, 3], mm.
        gaze: displacement [V, 3] of the eyeballs, mm.

    Returns:
        A copy of the field with those vertices' displacements replaced, mm.
    """
    field = field.copy()
    field[face.kind == EYEBALL] = gaze[face.kind == EYEBALL]
    _follow_waterline(face, field)
    inside = face.kind == POCKET
    upper = np.array([row.upper for row in mouth.POCKET])[face.row[inside], None]
    lower = np.array([row.lower for row in mouth.POCKET])[face.row[inside], None]
    field[inside] = upper * field[face.anchor_upper[inside]] + lower * field[face.anchor_lower[inside]]
    return field


def _follow_lids(face: Template, field: Array, sign: int) -> None:
    """Move the iris as a whole by the lid rim's mean; the outer eyeball keeps its motion, and all vertices their z."""
    ball = face.eyeball(sign)
    centre = np.array([sign * eyes.EYE_CENTRE[0], eyes.EYE_CENTRE[1]])
    distance = np.linalg.norm(face.vertices[ball, :2] - centre, axis=1)
    loose = np.clip((distance - _ROUND_RADIUS) / _ROUND_RADIUS, 0, 1)[:, None]
    field[ball, :2] = loose * field[ball, :2] + (1 - loose) * field[face.lid_rim(sign), :2].mean(axis=0)


def _follow_waterline(face: Template, field: Array) -> None:
    waterline = face.kind == WATERLINE
    field[waterline] = field[face.anchor_upper[waterline]]


def _window(face: Template, at: tuple[float, float], radius: tuple[float, float], side: Side) -> Array:
    squared = ((face.side - at[0]) / radius[0]) ** 2 + ((face.vertices[:, 1] - at[1]) / radius[1]) ** 2
    return np.exp(-squared) * _on_side(face, side)


def _on_side(face: Template, side: Side) -> Array:
    if side == "both":
        return np.ones(len(face.vertices))
    sign = 1 if side == "left" else -1
    return 0.5 * (1 + np.tanh(sign * face.vertices[:, 0] / _MIDLINE_SOFTNESS))


def _lip_weight(face: Template, lips: Lips) -> Array:
    if lips == "both":
        return np.ones(len(face.vertices))
    below = jaw_weight(face)
    return below if lips == "lower" else 1 - below


def _outwards(face: Template) -> Array:
    """Return factors [V, 3] that turn 'away from the midline' into +-x."""
    sign = np.tanh(face.vertices[:, 0] / _MIDLINE_SOFTNESS)
    return np.column_stack([sign, np.ones_like(sign), np.ones_like(sign)])
