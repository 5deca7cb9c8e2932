"""Shape of a hand: a skeleton with bent fingers in three dimensions, its pose, its bones as tapered capsules.

Hands are in units of the palm's length, from the wrist to the knuckle of the middle finger: x towards the little
finger, y towards the finger tips, z out of the back of the hand.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

_KNUCKLES = np.array([[-0.37, 0.95, 0.0], [-0.13, 1.0, 0.03], [0.11, 0.95, 0.02], [0.33, 0.85, -0.02]])
_BONES = np.array([[0.5, 0.3, 0.22], [0.56, 0.35, 0.23], [0.52, 0.33, 0.23], [0.4, 0.24, 0.2]])
_THICKNESS = np.array([[0.125, 0.11, 0.1, 0.08], [0.125, 0.112, 0.1, 0.082], [0.12, 0.105, 0.095, 0.078]])
_THICKNESS = np.vstack([_THICKNESS, [0.105, 0.09, 0.08, 0.066]])
_SPREAD = np.array([-0.2, -0.05, 0.1, 0.27])  # rad, of the open hand's fingers from its axis
_THUMB_ROOT, _THUMB_BONES = np.array([-0.2, 0.12, -0.05]), np.array([0.45, 0.36, 0.28])
_THUMB_THICKNESS = np.array([0.2, 0.145, 0.125, 0.095])
_ARM = 5.0

PALM, FINGERS = 0, (1, 2, 3, 4, 5)  # groups of capsules; the thumb is 5

# Bends of the three joints of the fingers [rad], how far they spread, bends of the thumb, its angle from the axis.
_STRAIGHT, _FOLDED, _RELAXED = (0.08, 0.1, 0.06), (1.35, 1.65, 0.9), (0.35, 0.55, 0.35)


class HandPose(NamedTuple):
    """Bends of the joints."""

    bends: Float[np.ndarray, "4 3"]
    spread: float
    thumb: Float[np.ndarray, " 2"]  # angle from the hand's axis in the palm's plane, and out of it towards the palm


class HandShape(NamedTuple):
    """Capsules of a hand and its joints, in the hand's units."""

    starts: Float[np.ndarray, "K 3"]
    ends: Float[np.ndarray, "K 3"]
    radii: Float[np.ndarray, "K 2"]
    groups: Int[np.ndarray, " K"]


def draw_pose(rng: Generator) -> HandPose:
    """Draw a pose: open, closed flat, relaxed, fist, pointing, two fingers, grip."""
    kind = int(rng.choice(7, p=[0.17, 0.2, 0.18, 0.17, 0.12, 0.06, 0.1]))
    base = (_STRAIGHT, _STRAIGHT, _RELAXED, _FOLDED, _FOLDED, _FOLDED, (0.7, 0.8, 0.45))[kind]
    bends = np.tile(np.array(base), (4, 1)) * rng.uniform(0.75, 1.1)
    if kind == 4:
        bends[0] = _STRAIGHT
    if kind == 5:
        bends[:2] = _STRAIGHT
    bends = bends * rng.uniform(0.85, 1.12, (4, 1)) + rng.normal(0, 0.04, (4, 3))
    spread = rng.uniform(0.7, 1.4) if kind in (0, 5) else rng.uniform(-0.1, 0.45)
    folded_thumb = kind in (3, 4, 5)
    thumb = np.array([rng.uniform(-0.1, 0.35), rng.uniform(0.6, 1.0)] if folded_thumb else [0, rng.uniform(0, 0.5)])
    if not folded_thumb:
        thumb[0] = rng.uniform(0.1, 0.45) if kind == 1 else rng.uniform(0.3, 0.95)
    return HandPose(bends, float(spread), thumb)


def build_hand(pose: HandPose) -> HandShape:
    """Compute the capsules of arm, palm, fingers and thumb.

    Args:
        pose: bends of the joints.

    Returns:
        The capsules; of a finger three, from knuckle to tip.
    """
    starts, ends, radii, groups = [], [], [], []

    def add(start: np.ndarray, end: np.ndarray, first: float, last: float, group: int) -> None:
        starts.append(start)
        ends.append(end)
        radii.append((first, last))
        groups.append(group)

    add(np.array([0.0, -_ARM, 0.0]), np.array([0.0, -0.15, 0.0]), 0.42, 0.27, PALM)
    for knuckle in _KNUCKLES:
        add(knuckle * [0.45, 0.1, 0.5], knuckle - [0, 0.04, 0.03], 0.21, 0.15, PALM)
    for finger, knuckle in enumerate(_KNUCKLES):
        side = _SPREAD[finger] * pose.spread
        ahead = np.array([np.sin(side), np.cos(side), 0.0])
        at, bend = knuckle, 0.0
        for joint in range(3):
            bend += pose.bends[finger, joint]
            tip = at + _BONES[finger, joint] * (np.cos(bend) * ahead + np.sin(bend) * np.array([0.0, 0.0, -1.0]))
            add(at, tip, _THICKNESS[finger, joint], _THICKNESS[finger, joint + 1], FINGERS[finger])
            at = tip
    at, angle, turn = _THUMB_ROOT, pose.thumb[0] + 0.25, pose.thumb[1]
    for joint in range(3):
        flat = np.array([-np.sin(angle), np.cos(angle), 0.0])
        tip = at + _THUMB_BONES[joint] * (np.cos(turn) * flat + np.sin(turn) * np.array([0.0, 0.0, -1.0]))
        add(at, tip, _THUMB_THICKNESS[joint], _THUMB_THICKNESS[joint + 1], PALM if joint == 0 else FINGERS[4])
        at, angle = tip, angle - 0.28 - 0.5 * pose.thumb[1]
    return HandShape(np.array(starts), np.array(ends), np.array(radii), np.array(groups))
