"""Edges of occluders that are softer or harder than drawn, so that no edge tells what was pasted."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from focus_ray.data.occluders import DrawOccluder
from focus_ray.data.occluders.drawing import Colour, FaceFrame, Image, Landmarks, Mask, OccluderLayer

_SOFTER, _HARDER = 0.4, 0.15  # probabilities
_SIGMA = (0.006, 0.03)  # units of the face's frame
_STEEPER = (1.3, 3.0)
_KEPT = 0.75  # share of the opaque pixels that a softer edge leaves opaque; thin things stay as they are
_SOLID = 0.98  # opacity from which on a pixel's colour is the occluder's own


@dataclass(frozen=True)
class VariedEdges:
    """Draws a family with softened, hardened or unchanged edges; a family of occluders.

    Attributes:
        draw: the family.
    """

    draw: DrawOccluder

    def __call__(self, rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
        """Draw the occluder, then change its edges."""
        layer, kind = self.draw(rng, size, landmarks, skin), rng.uniform()
        if kind < _SOFTER:
            sigma = FaceFrame.from_landmarks(landmarks).unit * np.exp(rng.uniform(*np.log(_SIGMA)))
            return soften_edges(layer, max(float(sigma), 0.3))
        if kind < _SOFTER + _HARDER:
            steep = np.float32(rng.uniform(*_STEEPER))
            return OccluderLayer(layer.rgb, _harden(layer.alpha, steep))
        return layer


def soften_edges(layer: OccluderLayer, sigma: float) -> OccluderLayer:
    """Blur the edges of an occluder and continue its colour beyond them.

    Args:
        layer: the occluder.
        sigma: blur, px.

    Returns:
        The occluder; unchanged if most of it would no longer be opaque.
    """
    alpha = np.clip(cv2.GaussianBlur(layer.alpha, (0, 0), sigma), 0, 1)
    if np.count_nonzero(alpha > 0.5) < _KEPT * np.count_nonzero(layer.alpha > 0.5):
        return layer
    spread: Image = cv2.GaussianBlur(layer.rgb * layer.alpha[..., None], (0, 0), sigma)
    spread = spread / np.maximum(alpha, np.float32(1e-4))[..., None]
    rgb = np.where((layer.alpha < _SOLID)[..., None] & (alpha > 1e-4)[..., None], spread, layer.rgb)
    return OccluderLayer(rgb, alpha)


def _harden(alpha: Mask, steep: np.float32) -> Mask:
    """Steepen the edges; see-through areas, which change little from pixel to pixel, keep their opacity."""
    mean = cv2.blur(alpha, (3, 3))
    edge = np.minimum(np.abs(alpha - mean) * np.float32(8), np.float32(1))
    steeper = np.clip(np.float32(0.5) + steep * (alpha - np.float32(0.5)), 0, 1)
    return np.clip(alpha + edge * (steeper - alpha), 0, 1)
