"""Light on a face: from one side, falling off, of two colours, with cast shadows; as factors on a photograph."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from focus_ray.data.occluders.drawing import (
    FaceFrame,
    Image,
    Landmarks,
    Mask,
    Points,
    blob,
    capsule,
    ellipse,
    fill_polygons,
    rotation_matrix,
)

_FROM_SIDE, _FALL_OFF, _TWO_COLOURS, _SHADOW = 0.45, 0.3, 0.1, 0.45  # probabilities
_GRID = 48  # cells of the longer side of the photograph, for light without edges
_GAMMA = 1 / 2.2  # photographs store light by this exponent
_FAR = 8.0  # units of the face's frame
_HALF_WIDTH, _HALF_HEIGHT, _MIDDLE = 1.25, 1.75, 0.55  # of the head as an ellipsoid, and where its middle lies
_LEAST = 0.07


def draw_light(rng: Generator, shape: tuple[int, int], landmarks: Landmarks) -> Image | None:
    """Draw the light and the cast shadows on a face.

    Args:
        rng: random generator.
        shape: height and width of the photograph, px.
        landmarks: px of the photograph, iBUG order.

    Returns:
        Factor on each stored value; None for the light that the photograph has.
    """
    frame = FaceFrame.from_landmarks(landmarks)
    smooth, shadow = _draw_smooth(rng, shape, frame), _draw_shadow(rng, shape, frame)
    if smooth is None or shadow is None:
        return smooth if shadow is None else shadow
    return smooth * shadow


def _draw_smooth(rng: Generator, shape: tuple[int, int], frame: FaceFrame) -> Image | None:
    """Light without edges, computed on a coarse grid."""
    chosen = rng.uniform(size=3) < [_FROM_SIDE, _FALL_OFF, _TWO_COLOURS]
    if not chosen.any():
        return None
    places = _grid(shape, frame)
    light = np.ones((*places.shape[:2], 3), np.float32)
    if chosen[0]:
        light *= _from_side(rng, places)[..., None]
    if chosen[1]:
        turn, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9)
        way = np.clip(places @ _direction(turn), -1.5, 1.5)
        light *= np.exp(np.float32(slope) * way)[..., None]
    if chosen[2]:
        turn, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
        weight = 1 / (1 + np.exp(-(places @ _direction(turn)) / np.float32(width)))
        first, second = (rng.uniform(0.55, 1.25, 3).astype(np.float32) for _ in range(2))
        light *= first + weight[..., None] * (second - first)
    stored = np.maximum(light, np.float32(_LEAST)) ** np.float32(_GAMMA)
    return cv2.resize(stored, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _grid(shape: tuple[int, int], frame: FaceFrame) -> Float[np.ndarray, "h w 2"]:
    """Coordinates in the face's frame on a grid over the photograph."""
    height, width = shape
    rows, columns = (max(2, round(_GRID * side / max(shape))) for side in shape)
    x = (np.arange(columns) + 0.5) * (width / columns) - 0.5
    y = (np.arange(rows) + 0.5) * (height / rows) - 0.5
    points = np.stack(np.meshgrid(x, y), axis=-1) - frame.origin[0]
    return (points @ frame.axes.T / frame.unit).astype(np.float32)


def _direction(turn: float) -> Float[np.ndarray, " 2"]:
    return np.array([np.cos(turn), np.sin(turn)], np.float32)


def _from_side(rng: Generator, places: Float[np.ndarray, "h w 2"]) -> Mask:
    """Light from one direction on a rough head: an ellipsoid with a nose, eye sockets, lips and chin."""
    x, y = places[..., 0], places[..., 1] - np.float32(_MIDDLE)
    inside = np.maximum(1 - (x / _HALF_WIDTH) ** 2 - (y / _HALF_HEIGHT) ** 2, np.float32(0.04))
    height = np.float32(1.15) * np.sqrt(inside)
    for across, down, radius, wide, rise in (
        (0.0, 0.55, 0.14, 2.2, 0.32),
        (-0.5, 0.02, 0.26, 0.8, -0.13),
        (0.5, 0.02, 0.26, 0.8, -0.13),
        (0.0, 1.15, 0.28, 0.5, 0.06),
        (0.0, 1.75, 0.25, 1.0, 0.06),
    ):
        far = ((places[..., 0] - across) / radius) ** 2 + ((places[..., 1] - down) / (radius * wide)) ** 2
        height = height + np.float32(rise) * np.exp(np.float32(-0.5) * far)
    step = float(np.hypot(*(places[0, 1] - places[0, 0])))
    down_slope, right_slope = np.gradient(height, step)
    turn, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.1)
    aim = np.array([np.cos(turn) * np.cos(elevation), np.sin(turn) * np.cos(elevation), np.sin(elevation)], np.float32)
    length = np.sqrt(down_slope**2 + right_slope**2 + 1)
    lit = np.maximum((aim[2] - aim[0] * right_slope - aim[1] * down_slope) / length, 0)
    ambient = np.float32(rng.uniform(0.1, 0.7))
    return ambient + (1 - ambient) * lit * np.float32(rng.uniform(1.0, 1.7)) + np.float32(rng.uniform(0, 0.15))


def _draw_shadow(rng: Generator, shape: tuple[int, int], frame: FaceFrame) -> Image | None:
    """A cast shadow with a hard or soft edge; its own light is a little bluer or redder."""
    if rng.uniform() >= _SHADOW:
        return None
    draw = _SHADOWS[int(rng.choice(len(_SHADOWS), p=[0.25, 0.2, 0.2, 0.2, 0.15]))]
    size = max(shape)
    mask = fill_polygons(size, *(frame.to_pixels(outline) for outline in draw(rng)))[: shape[0], : shape[1]]
    if rng.uniform() < 0.2 and draw is not _nose:
        mask = 1 - mask
    softness = frame.unit * np.exp(rng.uniform(np.log(0.006), np.log(0.2)))
    mask = cv2.GaussianBlur(mask, (0, 0), max(softness, 0.4))
    left = rng.uniform(0.12, 0.75) * np.exp(rng.normal(0, 0.08, 3))
    loss = 1 - np.clip(left, _LEAST, 1).astype(np.float32) ** np.float32(_GAMMA)
    return 1 - mask[..., None] * loss


def _half_plane(rng: Generator) -> list[Points]:
    """Everything on one side of a slightly bent line through the face."""
    t = np.linspace(-_FAR, _FAR, 17)
    bend = rng.uniform(-0.1, 0.1) * t**2 + rng.uniform(0, 0.06) * np.sin(rng.uniform(1, 4) * t)
    line = np.concatenate([np.stack([t, bend], 1), [[_FAR, 3 * _FAR], [-_FAR, 3 * _FAR]]])
    middle = [rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 1.4)]
    return [line @ rotation_matrix(rng.uniform(0, 2 * np.pi)) + middle]


def _brim(rng: Generator) -> list[Points]:
    """The shadow of a brim on the forehead and the eyes."""
    centre = np.array([[rng.uniform(-0.3, 0.3), -2.6]])
    return [ellipse(centre, (rng.uniform(1.5, 2.6), rng.uniform(1.9, 3.2)), rng.normal(0, 0.15), power=2.4)]


def _stripes(rng: Generator) -> list[Points]:
    """Parallel bars: blinds, bars of a window, branches."""
    period, share, turn = rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.7), rng.uniform(0, np.pi)
    bar = np.array([[-_FAR, 0.0], [_FAR, 0.0], [_FAR, share * period], [-_FAR, share * period]])
    count = int(rng.integers(1, 8))
    downs = [(k - count / 2) * period * rng.uniform(0.85, 1.15) for k in range(count)]
    return [(bar + np.array([0.0, down])) @ rotation_matrix(turn) + [0.0, 0.5] for down in downs]


def _spots(rng: Generator) -> list[Points]:
    """Leaves' shadows: blobs of any size."""
    middles = [np.array([[rng.uniform(-1.3, 1.3), rng.uniform(-1.2, 2.2)]]) for _ in range(int(rng.integers(1, 9)))]
    return [blob(rng, middle, np.exp(rng.uniform(np.log(0.12), np.log(0.7)))) for middle in middles]


def _nose(rng: Generator) -> list[Points]:
    """The shadow of the nose on one cheek, and that of the head's far side."""
    side, length = rng.choice([-1.0, 1.0]), rng.uniform(0.25, 0.8)
    tip = np.array([[length, 0.62 + 0.3 * length]])
    nose = capsule(np.array([[0.06, 0.1]]), tip, 0.07, rng.uniform(0.08, 0.22))
    far = np.array([[rng.uniform(0.5, 1.1), -2.0], [_FAR, -2.0], [_FAR, 4.0], [rng.uniform(0.5, 1.1), 4.0]])
    outlines = [nose * [side, 1.0]]
    return [*outlines, far * [side, 1.0]] if rng.uniform() < 0.6 else outlines


_SHADOWS: tuple[Callable[[Generator], list[Points]], ...] = (_half_plane, _brim, _stripes, _spots, _nose)
