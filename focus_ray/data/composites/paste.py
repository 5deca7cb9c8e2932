"""Pasting of an occluder into a photograph, with the photograph's blur, light and noise, and a shadow on the skin."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator

from focus_ray.data.align import crop_from_landmarks
from focus_ray.data.composites.face_region import face_region
from focus_ray.data.composites.outlines import family_outline
from focus_ray.data.composites.photo_properties import estimate_properties
from focus_ray.data.occluders import DrawOccluder
from focus_ray.data.occluders.drawing import Colour, OccluderLayer, draw_shadow, overlay

OPAQUE = 0.5
"""Opacity above which a pixel is the occluder's."""

_CANVAS = 3.0  # largest side of the area that occluders are drawn in, in sides of the aligned crop
_FINE_CANVAS = 640  # px; up to this side occluders are drawn twice as large and averaged
_THIN = 1e-3  # opacity below which a pixel's colour is not restored
_SHADOW_STRENGTH = 0.35
_SHADOW_EDGE = 0.02  # sigma of the edge of the skin that takes the shadow, of the aligned crop's side


class OpenPhoto(NamedTuple):
    """A photograph of an open face."""

    rgb: UInt8[np.ndarray, "H W 3"]
    landmarks: Float[np.ndarray, "68 2"]


class OccluderFamily(NamedTuple):
    """A family of occluders."""

    name: str
    draw: DrawOccluder


@dataclass(frozen=True)
class OccludedPhoto:
    """A photograph with an occluder.

    Attributes:
        rgb: the picture.
        occluder: where the occluder is opaque.
        covered: share of the face region where it is.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    occluder: Bool[np.ndarray, "H W"]
    covered: float


class _Canvas(NamedTuple):
    """A square of the photograph, partly outside it, that an occluder is drawn in."""

    left: int
    top: int
    side: int
    fineness: int  # px drawn per px of the photograph

    def draw(self, rng: Generator, family: OccluderFamily, photo: OpenPhoto, skin: Colour) -> OccluderLayer:
        """Draw an occluder, in px of the canvas."""
        places = (photo.landmarks - [self.left, self.top] + 0.5) * self.fineness - 0.5
        side = self.side * self.fineness
        rgb, alpha = family.draw(rng, side, places, skin)
        outline = family_outline(family.name, places, side)
        return OccluderLayer(rgb, alpha if outline is None else alpha * outline)

    def to_photo(
        self, drawn: Float[np.ndarray, "S S *C"], photo: OpenPhoto, blur: float
    ) -> Float[np.ndarray, "H W *C"]:
        """Average, blur and shift to px of the photograph; 0 outside the canvas."""
        averaged = cv2.resize(drawn, (self.side, self.side), interpolation=cv2.INTER_AREA)
        shift = np.array([[1.0, 0.0, self.left], [0.0, 1.0, self.top]])
        size = (photo.rgb.shape[1], photo.rgb.shape[0])
        return cv2.warpAffine(cv2.GaussianBlur(averaged, (0, 0), blur), shift, size, flags=cv2.INTER_NEAREST)


def paste_occluder(
    rng: Generator,
    photo: OpenPhoto,
    family: OccluderFamily,
    covered: tuple[float, float],
    attempts: int,
    blur_factor: float = 1.0,
) -> OccludedPhoto | None:
    """Draw an occluder until it covers an allowed share of the face, and paste it into the photograph.

    Args:
        rng: random generator.
        photo: photograph and landmarks, px.
        family: family of the occluder.
        covered: smallest and largest allowed share of the face region.
        attempts: largest number of drawings.
        blur_factor: blur of the occluder, as a multiple of the photograph's: above 1 it is softer than what it covers.

    Returns:
        The picture; None if no drawing covers an allowed share.
    """
    properties = estimate_properties(photo.rgb, photo.landmarks)
    height, width = photo.rgb.shape[:2]
    region = face_region(photo.landmarks, height, width)
    side = 1.0 / crop_from_landmarks(photo.landmarks, 1).scale
    canvas, blur = _place_canvas(photo, side), properties.blur * blur_factor
    for _ in range(attempts):
        drawn = canvas.draw(rng, family, photo, properties.skin)
        alpha = canvas.to_photo(drawn.alpha, photo, blur)
        occluder = alpha > OPAQUE
        share = float((occluder & region).sum()) / max(float(region.sum()), 1.0)
        if covered[0] <= share <= covered[1]:
            weighted = np.clip(drawn.rgb, 0, 1).astype(np.float32) * drawn.alpha[..., None]
            rgb = canvas.to_photo(weighted, photo, blur) / np.maximum(alpha, _THIN)[..., None]
            layer = OccluderLayer(properties.light_occluder(rgb), alpha)
            return OccludedPhoto(_composite(rng, photo, layer, properties.noise, region, side), occluder, share)
    return None


def _place_canvas(photo: OpenPhoto, side: float) -> _Canvas:
    """The square about the aligned crop's middle that contains the photograph, up to _CANVAS sides of the crop."""
    height, width = photo.rgb.shape[:2]
    middle = crop_from_landmarks(photo.landmarks, 1).to_image(np.zeros((1, 2)))[0]
    to_edges = max(float(np.abs(middle).max()), float(np.abs(np.array([width, height]) - middle).max()))
    reach = int(np.ceil(min(to_edges, 0.5 * _CANVAS * side)))
    left, top = (round(float(value)) - reach for value in middle)
    return _Canvas(left, top, 2 * reach + 1, 2 if 2 * reach + 1 <= _FINE_CANVAS else 1)


def _composite(
    rng: Generator,
    photo: OpenPhoto,
    layer: OccluderLayer,
    noise: float,
    region: Bool[np.ndarray, "H W"],
    side: float,
) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph behind an occluder, with its shadow on the face."""
    scene = photo.rgb.astype(np.float32) / np.float32(255)
    skin = cv2.GaussianBlur(region.astype(np.float32), (0, 0), max(_SHADOW_EDGE * side, 0.5))
    scene = scene * (1 - skin * draw_shadow(rng, layer.alpha, side, _SHADOW_STRENGTH))[..., None]
    grain = np.float32(noise) * rng.standard_normal(layer.alpha.shape, dtype=np.float32)
    scene = overlay(scene, layer.alpha, layer.rgb + grain[..., None])
    return np.clip(scene * 255 + 0.5, 0, 255).astype(np.uint8)
