"""Drawing for occluders: anti-aliased shapes on a canvas, a frame fixed to the face, shading."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from focus_ray.data.occluders import pixels

Image = Float[np.ndarray, "H W 3"]
Mask = Float[np.ndarray, "H W"]
Points = Float[np.ndarray, "_ 2"]
Landmarks = Float[np.ndarray, "68 2"]
Colour = Float[np.ndarray, " 3"]

_SUBPIXEL_BITS = 4
_SUBPIXEL = float(1 << _SUBPIXEL_BITS)
_FAR = 4096.0  # px; cv2's fixed-point coordinates overflow far beyond this

_HALF_TURN = np.linspace(-np.pi / 2, np.pi / 2, 9)  # of the end of a capsule
_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)  # of an ellipse
_BLOB_TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_HARMONICS = np.arange(1, 5)  # of a blob
_HARMONIC_TURNS, _HARMONIC_DECAY = _BLOB_TURN[:, None] * _HARMONICS, _HARMONICS**0.7
_BLOB_COS, _BLOB_SIN = np.cos(_BLOB_TURN), np.sin(_BLOB_TURN)


class OccluderLayer(NamedTuple):
    """A drawn occluder: colour in [0, 1] at every pixel, and how much of the pixel it hides."""

    rgb: Image
    alpha: Mask


class FaceFrame(NamedTuple):
    """Frame fixed to the face in the picture: origin between the eyes, unit = distance between their centres (px)."""

    origin: Points
    axes: Float[np.ndarray, "2 2"]
    unit: float

    @classmethod
    def from_landmarks(cls, landmarks: Landmarks) -> "FaceFrame":
        """Compute the frame of 68 landmarks; x runs along the eyes (image right), y down the face.

        Args:
            landmarks: px, iBUG order.

        Returns:
            The frame; its unit is at least half the distance from the eyes to the chin, and 1 px.
        """
        right_eye, left_eye = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        chin, origin = landmarks[8], (right_eye + left_eye) / 2
        # A turned head shortens the distance of the eyes, not that to the chin: the longer one sets the unit.
        eyes = left_eye - right_eye
        apart = float(np.linalg.norm(eyes))
        unit = max(apart, 0.5 * float(np.linalg.norm(chin - origin)), 1.0)
        x = eyes / max(apart, 1e-6)
        return cls(origin[None], np.stack([x, np.array([-x[1], x[0]])]), unit)

    def to_pixels(self, points: Points) -> Points:
        """Transform face coordinates to px.

        Args:
            points: face coordinates, in units of the frame.

        Returns:
            px of the picture.
        """
        return self.origin + self.unit * (np.asarray(points) @ self.axes)

    @property
    def angle(self) -> float:
        """Rotation of the eye line in the picture, rad."""
        return float(np.arctan2(self.axes[0, 1], self.axes[0, 0]))


def fill_polygons(size: int, *outlines: Points) -> Mask:
    """Fill polygons, anti-aliased.

    Args:
        size: side of the canvas, px.
        *outlines: corners of each polygon, px.

    Returns:
        Coverage in [0, 1].
    """
    canvas = np.zeros((size, size), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [_to_fixed_point(outline)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return pixels.to_unit_range(canvas)


def draw_lines(size: int, lines: list[Points], width: float, closed: bool = False) -> Mask:
    """Draw open or closed lines of one width, with round ends, anti-aliased.

    Args:
        size: side of the canvas, px.
        lines: points of each line, px.
        width: width of the lines, px.
        closed: whether the last point is joined to the first.

    Returns:
        Coverage in [0, 1].
    """
    canvas = np.zeros((size, size), np.uint8)
    cv2.polylines(
        canvas, [_to_fixed_point(line) for line in lines], closed, 255, _thickness(width), cv2.LINE_AA, _SUBPIXEL_BITS
    )
    return pixels.to_unit_range(canvas)


def capsule(start: Points, end: Points, radius_start: float, radius_end: float) -> Points:
    """Compute the outline of a rounded bar between two points, with ends of different radius.

    Args:
        start: first point, [1,2].
        end: second point, [1,2].
        radius_start: radius at the first point.
        radius_end: radius at the second point.

    Returns:
        Outline in the units of the points.
    """
    direction = float(np.arctan2(*(end - start)[0][::-1]))
    turn = _HALF_TURN + direction
    arc = np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.concatenate([end + radius_end * arc, start - radius_start * arc])


def ellipse(centre: Points, radii: tuple[float, float], angle: float = 0.0, power: float = 2.0) -> Points:
    """Compute the outline of an ellipse or a rounded rectangle.

    Args:
        centre: centre, [1,2].
        radii: half axes along x and y before the rotation.
        angle: rotation from x towards y, rad.
        power: 2 gives an ellipse, more a rounded rectangle.

    Returns:
        Outline in the units of the centre.
    """
    return centre + (_unit_ellipse(float(power)) * np.array(radii)) @ rotation_matrix(angle)


@cache
def _unit_ellipse(power: float) -> Points:
    circle = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)
    return np.sign(circle) * np.abs(circle) ** (2 / power)


def blob(rng: Generator, centre: Points, radius: float, roughness: float = 0.35) -> Points:
    """Draw a smooth random closed outline around a point: a circle disturbed by its first harmonics.

    Args:
        rng: random generator.
        centre: centre, [1,2].
        radius: radius of the circle.
        roughness: amplitude of the disturbance, as a share of the radius.

    Returns:
        Outline in the units of the centre.
    """
    amplitude = roughness * rng.uniform(-1, 1, 4) / _HARMONIC_DECAY
    waves = np.cos(_HARMONIC_TURNS + rng.uniform(0, 2 * np.pi, 4)) @ amplitude
    spoke = np.stack([_BLOB_COS, _BLOB_SIN * rng.uniform(0.65, 1.0)], 1)
    return centre + radius * (1 + waves)[:, None] * spoke @ rotation_matrix(rng.uniform(0, np.pi))


def rotation_matrix(angle: float) -> Float[np.ndarray, "2 2"]:
    """Compute the matrix that rotates row vectors from x towards y.

    Args:
        angle: rad.

    Returns:
        Matrix to multiply rows with from the right.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def solid_canvas(size: int, colour: Colour) -> Image:
    """Make a canvas of one colour.

    Args:
        size: side of the canvas, px.
        colour: RGB.

    Returns:
        RGB as float32.
    """
    return pixels.uniform(size, np.ascontiguousarray(colour, np.float32))


def tinted_canvas(colour: Colour, factor: Mask) -> Image:
    """Make a canvas of one colour, brighter or darker in each pixel.

    Args:
        colour: RGB.
        factor: factor on the colour.

    Returns:
        RGB as float32.
    """
    return pixels.tint(np.ascontiguousarray(colour, np.float32), np.ascontiguousarray(factor, np.float32))


def add_grain(rgb: Image, grain: Mask, amount: float) -> Image:
    """Add the same noise to all channels.

    Args:
        rgb: canvas.
        grain: noise.
        amount: factor on the noise.

    Returns:
        The canvas with noise.
    """
    return pixels.add_grain(
        np.ascontiguousarray(rgb, np.float32), np.ascontiguousarray(grain, np.float32), np.float32(amount)
    )


def overlay(rgb: Image, mask: Mask, colour: Colour | Image) -> Image:
    """Blend a colour or another canvas over a canvas.

    Args:
        rgb: lower canvas.
        mask: weight of the upper colour, in [0, 1].
        colour: one RGB colour, or an upper canvas.

    Returns:
        The blended canvas.
    """
    top = np.ascontiguousarray(colour, np.float32)
    blend = pixels.blend_colour if top.ndim == 1 else pixels.blend_canvas
    return blend(np.ascontiguousarray(rgb, np.float32), np.ascontiguousarray(mask, np.float32), top)


def shade_edges(rgb: Image, mask: Mask, width: float, depth: float) -> Image:
    """Darken a shape towards its edge, so that it looks round.

    Args:
        rgb: canvas.
        mask: the shape, above 0.5.
        width: width of the darkened edge, px.
        depth: share of brightness lost at the edge.

    Returns:
        The shaded canvas.
    """
    distance = cv2.distanceTransform(pixels.above_half(np.ascontiguousarray(mask, np.float32)), cv2.DIST_L2, 3)
    rgb = np.ascontiguousarray(rgb, np.float32)
    return pixels.shade(rgb, distance, np.float32(max(width, 1e-3)), np.float32(1 - depth), np.float32(depth))


def add_light_gradient(rng: Generator, rgb: Image, strength: float = 0.3) -> Image:
    """Apply a linear fall-off of light over the canvas, in a random direction.

    Args:
        rng: random generator.
        rgb: canvas.
        strength: largest relative change at the edges.

    Returns:
        The shaded canvas.
    """
    turn, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength)
    return pixels.apply_slope(np.ascontiguousarray(rgb, np.float32), slope * np.cos(turn), slope * np.sin(turn))


def draw_shadow(rng: Generator, alpha: Mask, side: float, strength: float) -> Mask:
    """Draw the soft shadow of an occluder on what is behind it, below the occluder or beside it.

    Args:
        rng: random generator.
        alpha: opacity of the occluder.
        side: side of an aligned crop of the face, px of the canvas; it scales the shadow's shift and softness.
        strength: largest share of the light that is lost.

    Returns:
        Share of the light that is lost at each pixel.
    """
    shift = np.array([[1, 0, rng.normal(0, 0.025) * side], [0, 1, rng.uniform(0.01, 0.06) * side]])
    soft = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), (0, 0), 0.015 * side)
    return np.float32(rng.uniform(0, strength)) * soft


def composite(bottom: OccluderLayer, top: OccluderLayer) -> OccluderLayer:
    """Put one layer over another."""
    alpha = top.alpha + bottom.alpha * (1 - top.alpha)
    return OccluderLayer(overlay(bottom.rgb, top.alpha, top.rgb), alpha)


def random_colour(rng: Generator) -> Colour:
    """Draw a colour of any hue, from grey to saturated and from dark to light.

    Args:
        rng: random generator.

    Returns:
        RGB in [0, 1].
    """
    hue, saturation, value = rng.uniform(0, 360), rng.uniform(0, 1), rng.uniform(0.08, 1)
    sectors = ((start + hue / 60) % 6 for start in (5.0, 3.0, 1.0))
    return np.array([value - value * saturation * min(max(min(x, 4 - x), 0.0), 1.0) for x in sectors])


def random_skin_colour(rng: Generator, skin: Colour, own: float = 0.4) -> Colour:
    """Draw a skin colour: the face's own, or a tone from very dark to very light.

    Args:
        rng: random generator.
        skin: RGB colour of the face.
        own: probability of the face's own colour.

    Returns:
        RGB in [0, 1].
    """
    if rng.uniform() < own:
        return skin.astype(np.float64)
    light = np.array([0.93, 0.76, 0.66])
    dark = np.array([0.27, 0.16, 0.11])
    tone = dark + rng.uniform() * (light - dark)
    return np.clip(tone * rng.uniform(0.94, 1.06, 3) * rng.uniform(0.8, 1.1), 0, 1)


def _to_fixed_point(points: Points) -> np.ndarray:
    return pixels.to_fixed_point(np.ascontiguousarray(points, np.float64), _FAR, _SUBPIXEL)


def _thickness(width: float) -> int:
    return max(round(width), 1)
