"""Pieces of other people's faces: cheek, forehead, eye, nose, mouth, turned, scaled, mirrored and cut out."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from focus_ray.data.composites.face_region import face_region
from focus_ray.data.occluders import pixels
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    Mask,
    OccluderLayer,
    add_light_gradient,
    blob,
    capsule,
    ellipse,
    fill_polygons,
    rotation_matrix,
    shade_edges,
)
from focus_ray.errors import DataError

_PARTS = np.array(
    [[-0.65, 0.75], [0.65, 0.75], [0.0, -0.6], [-0.5, 0.0], [0.5, 0.0], [0.0, 0.6], [0.0, 1.2], [0.0, 1.7], [0.0, 0.4]]
)  # cheeks, forehead, eyes, nose, mouth, chin, middle, in the frame of the face that a piece is taken from
_OWN_TONE = 0.4  # probability that a piece is brought to the colour of the face that it covers
_FACE_ONLY = 0.8  # probability that a piece ends where its face ends, without hair and background
_TONE_LIMITS = (0.4, 2.5)
_SHIFT = 0.35  # units, a piece that is moved less is turned by half a turn or more than a quarter


class _Face(NamedTuple):
    rgb: UInt8[np.ndarray, "H W 3"]
    region: UInt8[np.ndarray, "H W"]  # 255 in the face
    frame: FaceFrame

    @classmethod
    def read(cls, rgb: UInt8[np.ndarray, "H W 3"], landmarks: Landmarks) -> "_Face":
        region = face_region(landmarks, *rgb.shape[:2]).astype(np.uint8) * np.uint8(255)
        return cls(rgb, region, FaceFrame.from_landmarks(landmarks))


class SkinPieces:
    """Draws pieces of the faces that it was given; a family of occluders."""

    def __init__(self, faces: Sequence[tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "68 2"]]]) -> None:
        """Keep the pictures; they are not copied.

        Args:
            faces: picture and landmarks [px, iBUG order] of each face.

        Raises:
            DataError: there is no face.
        """
        if not faces:
            raise DataError("skin pieces need at least one face to cut them from; give pictures with landmarks")
        self._faces = [_Face.read(rgb, np.asarray(points, np.float64)) for rgb, points in faces]

    def __call__(self, rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
        """Draw one piece, at another place or at another angle than a face has it."""
        frame = FaceFrame.from_landmarks(landmarks)
        face = self._faces[int(rng.integers(len(self._faces)))]
        source = _PARTS[int(rng.integers(len(_PARTS)))] + rng.normal(0, 0.12, 2)
        target = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.7, 1.6)])
        mirror, turn = rng.choice([-1.0, 1.0]), rng.uniform(-np.pi, np.pi)
        if np.hypot(*(source * [mirror, 1] - target)) < _SHIFT:
            turn = np.pi + rng.normal(0, 0.7)
        zoom = np.exp(rng.uniform(-0.4, 0.5)) * frame.unit / face.frame.unit
        radius = frame.unit * rng.uniform(0.35, 1.0)
        middle = frame.to_pixels(target[None])
        to_canvas = _place(face, source, middle[0], zoom, (turn + frame.angle - face.frame.angle, mirror))
        copy = cv2.warpAffine(face.rgb, to_canvas, (size, size), borderMode=cv2.BORDER_REFLECT)
        rgb, alpha = copy.astype(np.float32) * np.float32(1 / 255), _outline(rng, size, middle, radius)
        if rng.uniform() < _FACE_ONLY:
            alpha = alpha * pixels.to_unit_range(cv2.warpAffine(face.region, to_canvas, (size, size)))
        if rng.uniform() < _OWN_TONE:
            rgb = _tone(rgb, alpha, skin)
        if rng.uniform() < 0.5:
            rgb = shade_edges(rgb, alpha, rng.uniform(0.1, 0.6) * radius, rng.uniform(0.05, 0.4))
        return OccluderLayer(np.clip(add_light_gradient(rng, rgb), 0, 1), alpha)


def _place(
    face: _Face,
    source: Float[np.ndarray, " 2"],
    middle: Float[np.ndarray, " 2"],
    zoom: float,
    turn_and_mirror: tuple[float, float],
) -> Float[np.ndarray, "2 3"]:
    """The transform to the canvas that puts a point of the picture's face into the middle given."""
    turn, mirror = turn_and_mirror
    matrix = zoom * rotation_matrix(turn).T @ np.diag([mirror, 1.0])
    offset = middle - matrix @ face.frame.to_pixels(source[None])[0]
    return np.column_stack([matrix, offset])


def _outline(rng: Generator, size: int, middle: Float[np.ndarray, "1 2"], radius: float) -> Mask:
    """A blob, an ellipse or rounded box, a bar like a finger, or a polygon."""
    kind = rng.uniform()
    if kind < 0.4:
        return fill_polygons(size, blob(rng, middle, radius))
    if kind < 0.6:
        radii = (radius, radius * rng.uniform(0.4, 1.0))
        return fill_polygons(size, ellipse(middle, radii, rng.uniform(0, np.pi), rng.choice([2.0, 3.0, 8.0])))
    if kind < 0.8:
        way = 1.3 * radius * np.array([[1.0, 0.0]]) @ rotation_matrix(rng.uniform(0, 2 * np.pi))
        ends = radius * rng.uniform(0.25, 0.6, 2)
        return fill_polygons(size, capsule(middle - way, middle + way, ends[0], ends[1]))
    turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
    spokes = np.stack([np.cos(turns), np.sin(turns)], 1) * rng.uniform(0.6, 1.3, (len(turns), 1))
    return fill_polygons(size, middle + radius * spokes)


def _tone(rgb: Image, alpha: Mask, skin: Colour) -> Image:
    """Multiply the channels so that the piece has the mean colour of another face."""
    mean = np.array(cv2.mean(rgb, (alpha > 0.5).astype(np.uint8))[:3])
    return rgb * np.clip(skin / np.maximum(mean, 0.02), *_TONE_LIMITS).astype(np.float32)
