"""Skin tone: the individual typology angle, its classes, and the colour of the cheeks of a photograph.

The angle is atan((L* - 50) / b*) of CIELAB (Chardon et al. 1991). It is that of the skin as photographed: a dark
picture of light skin has a small angle.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

CLASSES = ("dark", "brown", "tan", "intermediate", "light", "very light")
LEAST_PERSONS = 15
"""Persons of a class that is not pooled with a neighbouring one."""

_CLASS_LIMITS = (-30.0, 10.0, 28.0, 41.0, 55.0)  # degrees
_CHEEKS = ((2, 41, 31, 48), (14, 46, 35, 54))  # jaw, lower lid, nostril, corner of the mouth
_CHEEK_SIZE = 0.6  # of the hull of these landmarks, so that no frame of glasses and no outline is inside
_SUBPIXEL_BITS = 4


def typology_angle(rgb: Float[np.ndarray, "3"]) -> float:
    """Return the individual typology angle of a colour in [0, 1], degrees."""
    lightness, _, yellow = cv2.cvtColor(rgb.reshape(1, 1, 3).astype(np.float32), cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def tone_class(angle: float) -> int:
    """Return the class of an angle, from 0 (dark) to 5 (very light)."""
    return int(np.digitize(angle, _CLASS_LIMITS))


def cheek_pixels(
    image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"], hidden: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "N 3"]:
    """Return the colours of the visible cheeks, in [0, 1].

    Args:
        image: RGB.
        landmarks: px of the image, iBUG order.
        hidden: where something covers the face.
    """
    cheeks = np.zeros(hidden.shape, np.uint8)
    for cheek in _CHEEKS:
        points = landmarks[list(cheek)]
        points = points.mean(axis=0) + _CHEEK_SIZE * (points - points.mean(axis=0))
        outline = cv2.convexHull(np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32))
        cv2.fillConvexPoly(cheeks, outline, 1, shift=_SUBPIXEL_BITS)
    return image[(cheeks > 0) & ~hidden] / 255.0


def pool_classes(persons: Mapping[int, int], least: int = LEAST_PERSONS) -> dict[int, str]:
    """Pool neighbouring classes until each group has enough persons, or one is left; the smallest is pooled first.

    Args:
        persons: number of persons by class; classes without persons may be left out.
        least: persons of a group.

    Returns:
        Name of the group by class.
    """
    groups = [[number] for number in sorted(persons) if persons[number]]

    def size(place: int) -> int:
        return sum(persons[number] for number in groups[place])

    while len(groups) > 1:
        smallest = min(range(len(groups)), key=size)
        if size(smallest) >= least:
            break
        neighbours = [place for place in (smallest - 1, smallest + 1) if 0 <= place < len(groups)]
        first, second = sorted((smallest, min(neighbours, key=size)))
        groups[first] += groups.pop(second)
    return {number: _name(group) for group in groups for number in group}


def _name(group: list[int]) -> str:
    first, last = CLASSES[group[0]], CLASSES[group[-1]]
    return first if first == last else f"{first} to {last}"
