"""Augmentation of aligned photographs: flip, shift, turn and scale, as one more transform of the crop."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import Field

from focus_ray.data.align import REFERENCE_SIZE, Crop, compose, rotation_transform
from focus_ray.face_models.landmarks import FLIP
from focus_ray.settings import Settings


class AugmentSettings(Settings):
    """Ranges of the released code (method section 7); values are drawn uniformly."""

    flip: float = Field(default=0.5, ge=0, le=1)  # probability
    shift: float = Field(default=10.0, ge=0)  # px at 224, either way, in x and in y
    scale: float = Field(default=0.1, ge=0, lt=1)  # share, either way
    rotation: float = Field(default=10.0, ge=0)  # degrees, either way


DEFAULT = AugmentSettings()


class Augmentation(NamedTuple):
    """A transform from crop to crop, and whether it mirrors the face."""

    matrix: Float[np.ndarray, "2 3"]
    flipped: bool

    def crop(self, crop: Crop) -> Crop:
        """Return the crop of the augmented face; both transforms are applied in one interpolation."""
        return crop.then(self.matrix)

    def landmarks(self, crop: Crop, landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
        """Transform landmarks of the picture to the augmented crop; in a mirrored face left and right are swapped.

        Args:
            crop: crop before the augmentation.
            landmarks: px of the picture, iBUG order.

        Returns:
            px of the augmented crop, iBUG order.
        """
        return self.reorder(self.crop(crop).to_crop(landmarks))

    def reorder(self, landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
        """Swap left and right landmarks if the face is mirrored; a second call restores the order.

        Args:
            landmarks: landmarks in iBUG order of one of the two faces.

        Returns:
            Landmarks in iBUG order of the other face.
        """
        return landmarks[list(FLIP)] if self.flipped else landmarks


def draw_augmentation(rng: np.random.Generator, size: int, settings: AugmentSettings = DEFAULT) -> Augmentation:
    """Draw an augmentation of a crop: about its middle flip, then shift, turn and scale (method section 7).

    Five numbers are drawn for all settings, so that the later numbers of the generator do not depend on them.

    Args:
        rng: random generator.
        size: side of the crop, px.
        settings: ranges of the augmentation.
    """
    flip, right, down, turn, growth = rng.random(5)
    right, down, turn, growth = (2.0 * value - 1.0 for value in (right, down, turn, growth))
    middle = (size - 1) / 2.0
    flipped = bool(flip < settings.flip)
    reach = settings.shift * size / REFERENCE_SIZE
    to_middle = np.array([[-1.0 if flipped else 1.0, 0.0, middle if flipped else -middle], [0.0, 1.0, -middle]])
    shifted = compose(np.array([[1.0, 0.0, reach * right], [0.0, 1.0, reach * down]]), to_middle)
    turned = compose(rotation_transform(math.radians(settings.rotation * turn)), shifted)
    zoom = 1.0 + settings.scale * growth
    back = np.array([[zoom, 0.0, middle], [0.0, zoom, middle]])
    return Augmentation(compose(back, turned), flipped)
