"""Hands in many poses: open, flat, fist, pointing, holding something, two hands; with sleeves, nails and creases."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from focus_ray.data.composites.training.capsule_relief import EMPTY, draw_capsules, light_surface
from focus_ray.data.composites.training.hand_shape import FINGERS, HandShape, build_hand, draw_pose
from focus_ray.data.composites.training.relief import blur_widely
from focus_ray.data.occluders import pixels
from focus_ray.data.occluders.cloth import cloth, noise
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    Mask,
    OccluderLayer,
    Points,
    add_light_gradient,
    capsule,
    composite,
    draw_lines,
    ellipse,
    fill_polygons,
    overlay,
    random_colour,
    random_skin_colour,
    rotation_matrix,
    shade_edges,
    solid_canvas,
)

_PALM_LENGTH = (1.1, 1.7)  # units of the face's frame
_OWN_SKIN, _SECOND_HAND, _PALM_SEEN, _SLEEVE, _HELD = 0.6, 0.18, 0.35, 0.5, 0.25  # probabilities
_REDDER, _CREASE = np.array([1.02, 0.92, 0.9]), np.array([0.7, 0.58, 0.54])
_NAIL = np.array([1.1, 0.98, 0.98])


class _Placed(NamedTuple):
    """A hand in px of the canvas, z towards the viewer."""

    starts: Float[np.ndarray, "K 3"]
    ends: Float[np.ndarray, "K 3"]
    radii: Float[np.ndarray, "K 2"]
    unit: float
    back: float  # z of the direction out of the back of the hand: 1 if the back is seen, -1 if the palm is


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw one or two hands that touch the face or are held before it."""
    frame = FaceFrame.from_landmarks(landmarks)
    tone = np.clip(random_skin_colour(rng, skin, own=_OWN_SKIN), 0, 1)
    length, light = frame.unit * rng.uniform(*_PALM_LENGTH), _light(rng)
    place = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.4, 1.6)])
    arm = frame.angle + rng.uniform(0.0, np.pi) if rng.uniform() < 0.85 else rng.uniform(0, 2 * np.pi)
    layer = _draw_hand(rng, size, (frame.to_pixels(place[None])[0], arm, length), tone, light)
    if rng.uniform() < _SECOND_HAND:
        other = np.array([-place[0] + rng.normal(0, 0.2), place[1] + rng.normal(0, 0.2)])
        arm = np.pi - (arm - frame.angle) + frame.angle + rng.normal(0, 0.2)
        second = _draw_hand(rng, size, (frame.to_pixels(other[None])[0], arm, length), tone, light)
        layer = composite(layer, second)
    shadow = np.float32(rng.uniform(0, 0.4)) * _shadow(rng, layer.alpha, frame.unit)
    below = OccluderLayer(solid_canvas(size, 0.2 * skin), shadow)
    return composite(below, OccluderLayer(add_light_gradient(rng, layer.rgb, 0.2), layer.alpha))


def _light(rng: Generator) -> Float[np.ndarray, " 3"]:
    """Direction to the light, from in front and mostly from above."""
    aim = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.5), rng.uniform(0.6, 1.5)])
    return (aim / np.linalg.norm(aim)).astype(np.float32)


def _draw_hand(
    rng: Generator,
    size: int,
    place: tuple[Float[np.ndarray, " 2"], float, float],
    tone: Colour,
    light: Float[np.ndarray, " 3"],
) -> OccluderLayer:
    """One hand, with what it holds behind or before it."""
    shape = build_hand(draw_pose(rng))
    hand = _place(rng, shape, *place)
    height, alpha = draw_capsules(size, hand.starts, hand.ends, hand.radii, shape.groups, np.float32(0.1 * hand.unit))
    ambient = np.float32(rng.uniform(0.15, 0.6))
    brightness = light_surface(_smooth(height), light, ambient) * _hollows(height, hand.unit)
    mean = cv2.mean(brightness, (alpha > 0.5).astype(np.uint8))[0]
    factor = cv2.GaussianBlur(brightness, (0, 0), 0.6) * np.float32(rng.uniform(0.85, 1.15) / max(mean, 0.05))
    rgb = _skin(rng, size, hand, shape, tone) * np.clip(factor, 0.15, 1.5)[..., None]
    layer = OccluderLayer(rgb, alpha)
    if rng.uniform() < _SLEEVE:
        layer = composite(layer, _sleeve(rng, size, hand))
    if rng.uniform() < _HELD:
        held = _object(rng, size, hand)
        layer = composite(held, layer) if rng.uniform() < 0.7 else composite(layer, held)
    return layer


def _place(rng: Generator, shape: HandShape, touch: Float[np.ndarray, " 2"], arm: float, length: float) -> _Placed:
    """Turn the hand so that its arm leaves in a direction, and put a random point of it on the point touched."""
    mirror = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    roll = rng.normal(0, 0.45) + (np.pi if rng.uniform() < _PALM_SEEN else 0.0)
    tilt = rng.normal(0, 0.35)
    around_y = np.array([[np.cos(roll), 0, -np.sin(roll)], [0, 1, 0], [np.sin(roll), 0, np.cos(roll)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    in_picture = np.eye(3)
    in_picture[:2, :2] = rotation_matrix(arm + np.pi / 2)  # the arm leaves along -y
    turn = around_y @ around_x @ in_picture
    starts, ends = (length * (points * mirror) @ turn for points in (shape.starts, shape.ends))
    origin = np.array([rng.normal(0, 0.2), rng.uniform(0.3, 1.6), 0.0]) * length @ turn
    shift = np.array([*(touch - origin[:2]), 0.0])
    return _Placed(starts + shift, ends + shift, shape.radii * length, length, float(turn[2, 2]))


def _smooth(height: Mask) -> Mask:
    """The height without the steps from pixel to pixel where one finger hides another."""
    body = (height > -1e8).astype(np.float32)
    mean = cv2.GaussianBlur(height * body, (0, 0), 0.8) / np.maximum(cv2.GaussianBlur(body, (0, 0), 0.8), 1e-3)
    return np.where(body > 0, mean, EMPTY)


def _hollows(height: Mask, unit: float) -> Mask:
    """Less light in the hollows between the fingers."""
    body = (height > -1e8).astype(np.float32)
    level, sigma = height * body, max(0.07 * unit, 0.8)
    mean = blur_widely(level, sigma) / np.maximum(blur_widely(body, sigma), np.float32(1e-3))
    return np.clip(1 - np.maximum(mean - level, 0) * np.float32(2.5 / unit), 0.35, 1)


def _skin(rng: Generator, size: int, hand: _Placed, shape: HandShape, tone: Colour) -> np.ndarray:
    """Mottled skin, redder at the joints and tips, with creases and nails."""
    fine, coarse = noise(rng, size, min(size, 110), 1)[..., 0], noise(rng, size, 14, 1)[..., 0]
    mottled = np.clip(np.float32(0.25) + np.float32(0.22) * coarse + np.float32(0.12) * fine, 0, 1)
    rgb = overlay(solid_canvas(size, tone), mottled, np.clip(tone * _REDDER, 0, 1))
    rgb = pixels.add_grain(rgb, np.ascontiguousarray(fine), np.float32(rng.uniform(0, 0.015)))
    joints, creases = [], []
    for k in np.flatnonzero(shape.groups > 0):
        start, end, radius = hand.starts[k, :2], hand.ends[k, :2], hand.radii[k, 0]
        joints.append(ellipse(start[None], (0.9 * radius, 0.9 * radius)))
        along = end - start
        apart = max(float(np.hypot(*along)), 1e-6)
        across = np.array([-along[1], along[0]]) / apart * radius * rng.uniform(0.4, 0.75)
        for step in (-0.15, 0.12):
            middle = start + step * radius * along / apart + rng.normal(0, 0.04, 2) * radius
            bow = middle + 0.12 * radius * rng.normal() * along / apart
            creases.append(np.stack([middle - across, bow, middle + across]))
    red = blur_widely(fill_polygons(size, *joints), 0.09 * hand.unit)
    rgb = overlay(rgb, np.float32(rng.uniform(0.2, 0.9)) * red, np.clip(tone * _REDDER, 0, 1))
    lines = cv2.GaussianBlur(
        draw_lines(size, creases, max(0.012 * hand.unit, 1.0)), (0, 0), max(0.008 * hand.unit, 0.5)
    )
    rgb = overlay(rgb, np.float32(rng.uniform(0.05, 0.4)) * lines, tone * _CREASE)
    return _nails(rng, rgb, hand, shape, tone) if hand.back > 0.3 else rgb


def _nails(rng: Generator, rgb: np.ndarray, hand: _Placed, shape: HandShape, tone: Colour) -> np.ndarray:
    """Nails on the tips that point across the picture, sometimes varnished."""
    outlines = []
    for group in FINGERS:
        last = np.flatnonzero(shape.groups == group)[-1]
        along, radius = hand.ends[last] - hand.starts[last], hand.radii[last, 1]
        if abs(along[2]) > 0.7 * float(np.linalg.norm(along)):
            continue
        turn = float(np.arctan2(along[1], along[0]))
        middle = hand.ends[last, :2] + 0.25 * radius * along[:2] / max(float(np.hypot(*along[:2])), 1e-6)
        outlines.append(ellipse(middle[None], (0.75 * radius, 0.55 * radius), turn, power=2.6))
    if not outlines:
        return rgb
    colour = random_colour(rng) if rng.uniform() < 0.2 else np.clip(tone * _NAIL + 0.03, 0, 1)
    return overlay(rgb, np.float32(0.8) * fill_polygons(rgb.shape[0], *outlines), colour)


def _sleeve(rng: Generator, size: int, hand: _Placed) -> OccluderLayer:
    """A sleeve over the arm, from the wrist or from further down."""
    far, wrist, radius = hand.starts[0, :2], hand.ends[0, :2], hand.radii[0]
    down = rng.uniform(0.0, 0.25)
    end = wrist + down * (far - wrist)
    wide = rng.uniform(1.1, 1.5)
    alpha = fill_polygons(
        size, _bar(far, end, 1.3 * wide * radius[0], wide * (radius[1] + down * (radius[0] - radius[1])))
    )
    rgb = shade_edges(cloth(rng, size, patterned=0.3), alpha, 0.3 * hand.unit, rng.uniform(0.2, 0.6))
    return OccluderLayer(rgb, alpha)


def _bar(start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"], first: float, last: float) -> Points:
    """A bar with straight ends."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    across = np.array([-along[1], along[0]])
    return np.stack([start + first * across, end + last * across, end - last * across, start - first * across])


def _object(rng: Generator, size: int, hand: _Placed) -> OccluderLayer:
    """A phone or card, a stick or pen, or something round, at the fingers."""
    middle = hand.ends[6:7, :2] + rng.normal(0, 0.15, (1, 2)) * hand.unit
    turn, kind = rng.uniform(0, np.pi), rng.uniform()
    if kind < 0.4:
        outline = ellipse(middle, (hand.unit * rng.uniform(0.3, 0.5), hand.unit * rng.uniform(0.5, 0.85)), turn, 12.0)
    elif kind < 0.75:
        way = hand.unit * rng.uniform(0.5, 1.1) * np.array([[1.0, 0.0]]) @ rotation_matrix(turn)
        outline = capsule(middle - way, middle + way, hand.unit * 0.05, hand.unit * rng.uniform(0.04, 0.09))
    else:
        radius = hand.unit * rng.uniform(0.25, 0.5)
        outline = ellipse(middle, (radius, radius * rng.uniform(0.7, 1.0)), turn)
    alpha = fill_polygons(size, outline)
    rgb = shade_edges(cloth(rng, size, patterned=0.3), alpha, 0.25 * hand.unit, rng.uniform(0.0, 0.5))
    return OccluderLayer(rgb, alpha)


def _shadow(rng: Generator, alpha: Mask, unit: float) -> Mask:
    """The shadow of the hand on the face close to it."""
    shift = np.array([[1, 0, rng.normal(0, 0.08) * unit], [0, 1, rng.uniform(0.0, 0.15) * unit]])
    return blur_widely(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), 0.06 * unit)
