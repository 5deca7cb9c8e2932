"""Colours of skin, eyes, brows, lips and hair per vertex, as a function of a complexion."""

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial import KDTree

from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.surface import Array
from focus_ray.face_models.parametric.template import EYEBALL, POCKET, SKIN, WATERLINE, Template

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Complexion:
    """The named parameters of the colours, in standard deviations."""

    melanin: float = 0.0
    redness: float = 0.0
    yellowness: float = 0.0
    hair_darkness: float = 0.0
    hair_redness: float = 0.0
    hair_line: float = 0.0
    brow_density: float = 0.0
    brow_thickness: float = 0.0
    brow_length: float = 0.0
    iris_darkness: float = 0.0
    iris_blueness: float = 0.0
    iris_greenness: float = 0.0
    sclera: float = 0.0
    lashes: float = 0.0
    eye_shadow: float = 0.0
    under_eye: float = 0.0
    lip_redness: float = 0.0
    lip_darkness: float = 0.0
    lip_border: float = 0.0
    blush: float = 0.0
    nose_redness: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    forehead_light: float = 0.0
    contour: float = 0.0
    teeth: float = 0.0


# Mean colours (RGB), and the change by one standard deviation of a parameter.
_SKIN: Colour = (0.655, 0.475, 0.385)
_MELANIN: Colour = (-0.146, -0.131, -0.115)
_REDNESS: Colour = (0.011, -0.010, -0.008)
_YELLOWNESS: Colour = (0.003, 0.004, -0.010)
_HAIR, _HAIR_DARKNESS, _HAIR_REDNESS = (0.20, 0.145, 0.11), (-0.075, -0.062, -0.05), (0.035, 0.0, -0.012)
_HAIR_SHARE_OF_MELANIN = 0.4
_IRIS, _IRIS_DARKNESS = (0.29, 0.23, 0.19), (-0.085, -0.075, -0.07)
_IRIS_BLUENESS, _IRIS_GREENNESS = (-0.04, 0.005, 0.05), (-0.005, 0.02, -0.012)
_PUPIL: Colour = (0.035, 0.03, 0.03)
_SCLERA: Colour = (0.77, 0.73, 0.71)
_CARUNCLE: Colour = (0.70, 0.42, 0.39)
_LASH: Colour = (0.10, 0.07, 0.06)
_TEETH: Colour = (0.80, 0.76, 0.69)
_GUM, _THROAT, _FLOOR = (0.40, 0.17, 0.16), (0.09, 0.035, 0.035), (0.22, 0.09, 0.09)

_BROW_LINE = PchipInterpolator([10.0, 19.0, 28.0, 37.0, 46.0, 54.0, 60.0], [43.6, 46.2, 48.3, 49.3, 47.9, 43.8, 39.4])
_BROW_HALF = PchipInterpolator([8.0, 14.0, 26.0, 40.0, 52.0, 60.0], [2.2, 2.9, 3.1, 2.5, 1.7, 1.0])


def paint(face: Template, complexion: Complexion) -> Array:
    """Compute the albedo [V, 3] (RGB) of a face with this complexion."""
    colours = _skin(face, complexion)
    for layer in (_shading, _beard, _lips, _brows, _hair, _eye_region):
        colours = layer(face, complexion, colours)
    colours = np.where((face.kind == EYEBALL)[:, None], _eyeballs(face, complexion), colours)
    return np.where((face.kind == POCKET)[:, None], _mouth_inside(face, complexion), colours)


def complexion_fields(face: Template) -> list[Array]:
    """Compute central differences [V, 3] (RGB) of `paint` at +-1 standard deviation of each parameter."""
    neutral = Complexion()
    names = [field.name for field in fields(Complexion)]
    return [(paint(face, replace(neutral, **{n: 1.0})) - paint(face, replace(neutral, **{n: -1.0}))) / 2 for n in names]


def noise_directions() -> tuple[Array, Array]:
    """Return the unit colour directions of mottled skin: brown and red."""
    brown, red = np.array(_MELANIN), np.array([0.5, -0.6, -0.5])
    return brown / np.linalg.norm(brown), red / np.linalg.norm(red)


def _add(colour: Colour, *changes: tuple[float, Colour]) -> Array:
    return np.array(colour) + sum((amount * np.array(change) for amount, change in changes), np.zeros(3))


def _hair_colour(complexion: Complexion) -> Array:
    """Return the hair colour, darker on dark skin: brows must not become paler than the skin."""
    own = ((complexion.hair_darkness, _HAIR_DARKNESS), (complexion.hair_redness, _HAIR_REDNESS))
    return _add(_HAIR, *own, (_HAIR_SHARE_OF_MELANIN * complexion.melanin, _MELANIN))


def _mix(colours: Array, colour: Array, alpha: Array) -> Array:
    return colours + alpha[:, None] * (colour - colours)


def _gaussian_spot(face: Template, x: float, y: float, radius_x: float, radius_y: float) -> Array:
    return np.exp(-(((face.side - x) / radius_x) ** 2) - ((face.vertices[:, 1] - y) / radius_y) ** 2)


def _smoothstep(value: Array, start: float, end: float) -> Array:
    """Step smoothly from 0 at `start` to 1 at `end`."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _skin(face: Template, complexion: Complexion) -> Array:
    tone = _add(
        _SKIN, (complexion.melanin, _MELANIN), (complexion.redness, _REDNESS), (complexion.yellowness, _YELLOWNESS)
    )
    return np.tile(tone, (len(face.vertices), 1))


def _shading(face: Template, complexion: Complexion, colours: Array) -> Array:
    """Add redness and shade of the skin: cheeks, nose, nostrils, folds and highlights."""
    red = colours * [1.06, 0.80, 0.78]
    dark = colours * [0.74, 0.66, 0.62]
    pale = np.minimum(colours * [1.10, 1.12, 1.13], 1.0)
    blush = np.maximum(_gaussian_spot(face, 41.0, -6.0, 18.0, 14.0), 0) * (0.34 + 0.20 * complexion.blush)
    nose = _gaussian_spot(face, 0.0, -8.0, 13.0, 9.0) * (0.30 + 0.18 * complexion.nose_redness)
    folds = 0.30 * _gaussian_spot(face, 19.2, -9.0, 2.2, 7.0) + 0.16 * _gaussian_spot(face, 26.5, -24.0, 3.0, 11.0)
    folds += 0.22 * _gaussian_spot(face, 0.0, -53.0, 13.0, 3.2) + 0.22 * _gaussian_spot(face, 26.0, -38.6, 2.4, 2.0)
    contour = _gaussian_spot(face, 52.0, -26.0, 13.0, 20.0) * (0.10 + 0.14 * complexion.contour)
    light = 0.22 * _gaussian_spot(face, 0.0, 10.0, 5.0, 18.0) + _gaussian_spot(face, 0.0, 72.0, 30.0, 17.0) * (
        0.14 + 0.18 * complexion.forehead_light
    )
    light += 0.20 * _gaussian_spot(face, 40.0, 14.0, 12.0, 5.0)
    if face.nostrils is None:
        nostril = 0.92 * np.clip(1.7 * _gaussian_spot(face, 6.9, -16.9, 3.3, 1.7), 0, 1)
    else:
        nostril = face.nostrils.astype(np.float64)
    for tint, alpha in ((red, blush), (red, nose), (dark, folds), (dark, contour), (pale, light)):
        colours = _mix(colours, tint, alpha)
    return _mix(colours, 0.22 * colours, nostril)


def _beard(face: Template, complexion: Complexion, colours: Array) -> Array:
    """Add the shade of shaved hair on jaw, chin and upper lip; the amount of each is linear in its parameter."""
    y, side = face.vertices[:, 1], face.side
    jaw = _smoothstep(-y, 30.0, 52.0) * _smoothstep(y, -92.0, -78.0) + 0.8 * _smoothstep(
        np.abs(face.s), 62.0, 80.0
    ) * _smoothstep(-y, -12.0, 22.0)
    off_lips = 1 - _gaussian_spot(face, 0.0, -38.5, 29.0, 12.0)
    cheek_line = _smoothstep(-(y + 0.25 * side), 18.0, 42.0)
    beard = np.clip(jaw, 0, 1) * off_lips * np.maximum(cheek_line, _smoothstep(np.abs(face.s), 66.0, 84.0))
    moustache = np.exp(-((side / 24) ** 4)) * np.exp(-(((y + 27.0 + 0.14 * side) / 4.6) ** 2))
    shade = _hair_colour(complexion) * 0.9 + 0.06
    colours = _mix(colours, shade, np.clip(beard, 0, 1) * (0.17 + 0.17 * complexion.beard))
    return _mix(colours, shade, moustache * (0.12 + 0.14 * complexion.moustache))


def _lips(face: Template, complexion: Complexion, colours: Array) -> Array:
    side = np.minimum(face.side, mouth.CORNER[0])
    y = face.vertices[:, 1]
    fraction = np.full(len(y), 9.0)
    for upper in (True, False):
        inner, border = (mouth.lip_row(side, upper, at) for at in (0.0, 1.0))
        thickness = np.where(upper, 1, -1) * np.maximum(np.abs(border - inner), 0.6)
        here = (y >= mouth.mouth_line(side)) == upper
        fraction = np.where(here, (y - inner) / thickness, fraction)
    sharpness = 0.17 - 0.04 * complexion.lip_border
    inside = face.side < mouth.CORNER[0] + 1.5
    red = inside * (1 - _smoothstep(fraction, 1.05 - sharpness, 1.05 + sharpness))
    tint = colours * np.array([0.88, 0.66, 0.67]) + [0.035, 0.0, 0.005]
    tint = (
        tint
        + complexion.lip_redness * np.array([0.032, -0.03, -0.02])
        + complexion.lip_darkness * np.array([-0.08, -0.06, -0.05])
    )
    colours = _mix(colours, tint, 0.95 * red)
    slit = (1 - _smoothstep(face.side, 17.0, 26.0)) * np.exp(-(((y - mouth.mouth_line(side)) / 1.0) ** 2))
    return _mix(colours, 0.38 * colours, 0.85 * slit)


def _brows(face: Template, complexion: Complexion, colours: Array) -> Array:
    side, y = face.side, face.vertices[:, 1]
    half = _BROW_HALF(np.clip(side, 8, 60)) * (1 + 0.22 * complexion.brow_thickness)
    across = np.exp(-((np.abs(y - _BROW_LINE(np.clip(side, 10, 60))) / half) ** 2.6))
    along = _smoothstep(side, 7.5, 18.0) * (
        1 - _smoothstep(side, 49 + 2.5 * complexion.brow_length, 60 + 2.5 * complexion.brow_length)
    )
    hair = _hair_colour(complexion)
    tone = 0.82 * hair + 0.10 * colours
    return _mix(colours, tone, across * along * (0.76 + 0.10 * complexion.brow_density) * (face.kind == SKIN))


def _hair(face: Template, complexion: Complexion, colours: Array) -> Array:
    """Add the hair's edge at the top and the temples."""
    line = 4.5 * complexion.hair_line
    crown = _smoothstep(face.v, 77 + line, 104 + line)
    across = np.abs(face.s)
    temples = _smoothstep(across + 0.35 * (face.v - 60), 76 + line, 96 + line) * _smoothstep(face.v, 12.0, 34.0)
    hair = _hair_colour(complexion)
    return _mix(colours, hair + 0.02, np.maximum(crown, temples) * 0.9)


def _eye_region(face: Template, complexion: Complexion, colours: Array) -> Array:
    """Add lashes, lid crease, the socket's shade and the skin under the eye."""
    loop = eyes.lid_loop(100)
    plane = np.column_stack([face.side, face.vertices[:, 1]])
    distance = KDTree(loop).query(plane)[0]
    width = eyes.OUTER_CORNER[0] - eyes.INNER_CORNER[0]
    along = (face.side - eyes.INNER_CORNER[0]) / width
    axis = eyes.INNER_CORNER[1] + along * (eyes.OUTER_CORNER[1] - eyes.INNER_CORNER[1])
    upper = _smoothstep(face.vertices[:, 1] - axis, -0.6, 0.8)
    on_lid = _smoothstep(along, -0.10, 0.05) * (1 - _smoothstep(along, 1.04, 1.2))
    dark = colours * [0.66, 0.56, 0.53]
    shadow = np.exp(-((distance / 7.5) ** 2)) * (0.24 + 0.22 * complexion.eye_shadow) * (0.35 + 0.65 * upper)
    crease = 0.32 * upper * on_lid * np.exp(-(((distance - 3.6) / 1.7) ** 2))
    under = (1 - upper) * np.exp(-(((distance - 5.0) / 3.5) ** 2)) * on_lid * (0.22 + 0.20 * complexion.under_eye)
    for alpha in (shadow, crease, under):
        colours = _mix(colours, dark, alpha)
    lash = np.exp(-((distance / 1.35) ** 2)) * on_lid * (0.42 + 0.46 * upper) * (0.9 + 0.12 * complexion.lashes)
    colours = _mix(colours, np.array(_LASH), np.clip(lash, 0, 1))
    waterline = (face.kind == WATERLINE) * (1 - 0.9 * upper)
    return _mix(colours, 0.5 * colours + 0.5 * np.array(_CARUNCLE), 0.8 * waterline)


def _eyeballs(face: Template, complexion: Complexion) -> Array:
    x, y = face.side - eyes.EYE_CENTRE[0], face.vertices[:, 1] - eyes.EYE_CENTRE[1]
    radius = np.hypot(x, y)
    white = np.array(_SCLERA) + 0.035 * complexion.sclera
    lid_shade = 1 - 0.40 * _smoothstep(y, 0.0, 6.0) - 0.34 * _smoothstep(np.abs(x), 6.5, 15.0)
    colours = white * lid_shade[:, None]
    colours = _mix(colours, np.array(_CARUNCLE), _smoothstep(-x, 11.0, 13.5))
    iris = _add(_IRIS, (complexion.iris_darkness, _IRIS_DARKNESS), (complexion.iris_blueness, _IRIS_BLUENESS),
                (complexion.iris_greenness, _IRIS_GREENNESS))  # fmt: skip
    depth = 1.12 - 0.5 * _smoothstep(radius, 4.2, eyes.IRIS) - 0.30 * _smoothstep(y, 0.0, 5.0)
    inside = 1 - _smoothstep(radius, eyes.IRIS - 0.35, eyes.IRIS + 0.3)
    colours = colours + inside[:, None] * (iris * depth[:, None] - colours)
    return _mix(colours, np.array(_PUPIL), 1 - _smoothstep(radius, eyes.PUPIL - 0.15, eyes.PUPIL + 0.5))


def _mouth_inside(face: Template, complexion: Complexion) -> Array:
    teeth = np.array(_TEETH) + complexion.teeth * np.array([0.05, 0.055, 0.06])
    by_row = {"gum": _GUM, "tooth root": teeth * 0.3, "tooth": teeth, "tooth edge": teeth * 0.9, "palate": _THROAT,
              "back": _THROAT, "floor": _FLOOR, "lower lip's inside": _FLOOR}  # fmt: skip
    table = np.array([by_row[row.name] for row in mouth.POCKET])
    shade = 1 - 0.75 * (face.side / mouth.CORNER[0]) ** 2
    return table[face.row] * np.clip(shade, 0.15, 1)[:, None]
