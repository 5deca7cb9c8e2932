"""Eyeballs and lids: a spherical cap on which the lids slide, and the almond shape between inner and outer corner.

All positions are those of the subject's left eye (x > 0); the right eye is its mirror image.
"""

import numpy as np
from numpy.typing import NDArray

from focus_ray.face_models.parametric.surface import Array

EYE_CENTRE = (31.2, 29.2)
"""Frontal position (mm) of the pupil."""

INNER_CORNER, OUTER_CORNER = (16.4, 27.6), (45.6, 30.0)
EYEBALL_RADIUS = 18.0
EYEBALL_APEX = 17.8
CORNEA_BULGE, CORNEA_RADIUS = 0.7, 5.6
LID_THICKNESS = 1.5
UPPER_LID_HEIGHT, LOWER_LID_HEIGHT = 6.3, 4.4
PATCH_HALF_SIZE = (16.6, 9.6)
"""Half width and height (mm) of the eyeball's patch: larger than any opened lid."""

# Radii (mm) of the eyeball's rings: pupil, iris, limbus, sclera. Pairs of close rings keep colour edges sharp.
PUPIL, IRIS = 2.0, 5.75
_RING_RADII = (1.0, PUPIL - 0.15, PUPIL + 0.5, 4.2, IRIS - 0.35, IRIS + 0.3, 7.4, 10.0, 13.2)
_TUCK = 2.0  # mm by which the part of the eyeball under the lids is set back, so that it never shows through


def eyeball_height(x: Array, y: Array) -> Array:
    """Compute the depth of the eyeball without the cornea.

    The sphere's series to fourth order, which continues to fall outside of the sphere.

    Args:
        x: frontal x, mm; the sign does not matter.
        y: frontal y, mm.

    Returns:
        Depth z, mm.
    """
    squared = ((np.abs(x) - EYE_CENTRE[0]) ** 2 + (y - EYE_CENTRE[1]) ** 2) / EYEBALL_RADIUS**2
    return EYEBALL_APEX - EYEBALL_RADIUS * squared * (0.5 + 0.125 * squared)


def lid_contour(fraction: Array, upper: bool) -> tuple[Array, Array]:
    """Compute frontal positions on the edge of a lid.

    Args:
        fraction: 0 at the inner corner to 1 at the outer corner.
        upper: True for the upper lid, False for the lower.

    Returns:
        x and y, mm.
    """
    x = INNER_CORNER[0] + (OUTER_CORNER[0] - INNER_CORNER[0]) * fraction
    y = INNER_CORNER[1] + (OUTER_CORNER[1] - INNER_CORNER[1]) * fraction
    # The upper lid is highest a little inwards of the middle, the lower one lowest outwards.
    skew = fraction + (0.16 if upper else -0.2) * fraction * (1 - fraction)
    arch = (4 * skew * (1 - skew)) ** (0.72 if upper else 0.8)
    return x, y + (UPPER_LID_HEIGHT if upper else -LOWER_LID_HEIGHT) * arch


def lid_loop(segments: int) -> Array:
    """Return the closed lid contour, counter-clockwise as seen from the front.

    Args:
        segments: number of segments of each lid.

    Returns:
        Frontal positions [2 segments, 2], mm.
    """
    fraction = (1 - np.cos(np.pi * np.arange(segments + 1) / segments)) / 2
    fraction = 0.35 * fraction + 0.65 * np.arange(segments + 1) / segments
    lower = np.stack(lid_contour(fraction, upper=False), axis=1)[:-1]
    upper = np.stack(lid_contour(fraction[::-1], upper=True), axis=1)[:-1]
    return np.concatenate([lower, upper])


def expand_loop(loop: Array, distance: float) -> Array:
    """Move the lid loop outwards.

    Args:
        loop: frontal positions [N, 2], mm.
        distance: approximate distance, mm.

    Returns:
        The moved positions [N, 2], mm.
    """
    centre = np.array([31.0, 28.8])
    return centre + (loop - centre) * (1 + distance / np.array([14.6, 5.6]))


def eyeball_patch(spokes: int, rings_per_band: int) -> tuple[Array, NDArray[np.int64]]:
    """Mesh the cap of one eyeball.

    Args:
        spokes: number of vertices of a ring.
        rings_per_band: number of rings between two successive entries of _RING_RADII.

    Returns:
        Vertices [N, 3] (mm; the centre of the pupil, then ring by ring) and triangles [F, 3].
    """
    radii = np.interp(np.arange(len(_RING_RADII) * rings_per_band), np.arange(len(_RING_RADII)) * rings_per_band,
                      _RING_RADII)  # fmt: skip
    radii = np.append(radii[: (len(_RING_RADII) - 1) * rings_per_band + 1], PATCH_HALF_SIZE[0])
    angle = 2 * np.pi * np.arange(spokes) / spokes
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # Rings are circles around the iris and flatten to the patch's ellipse outside.
    flatten = np.clip((radii - 7.0) / (PATCH_HALF_SIZE[0] - 7.0), 0, 1) * (1 - PATCH_HALF_SIZE[1] / PATCH_HALF_SIZE[0])
    scale = np.stack([radii, radii * (1 - flatten)], axis=1)
    plane = np.concatenate([np.zeros((1, 2)), (scale[:, None] * circle).reshape(-1, 2)]) + EYE_CENTRE
    z = eyeball_height(plane[:, 0], plane[:, 1])
    distance = np.linalg.norm(plane - EYE_CENTRE, axis=1)
    z = z + CORNEA_BULGE * np.maximum(1 - (distance / CORNEA_RADIUS) ** 2, 0)
    under_lids = np.hypot((plane[:, 0] - EYE_CENTRE[0]) / 15.2, (plane[:, 1] - EYE_CENTRE[1]) / 6.6)
    z = z - _TUCK * np.clip((under_lids - 1) / 0.3, 0, 1)
    return np.column_stack([plane, z]), _disk_triangles(spokes, len(radii))


def _disk_triangles(spokes: int, rings: int) -> NDArray[np.int64]:
    spoke = np.arange(spokes)
    following = (spoke + 1) % spokes
    fan = np.stack([np.zeros(spokes, dtype=np.int64), 1 + spoke, 1 + following], axis=1)
    triangles = [fan]
    for ring in range(rings - 1):
        inner, outer = 1 + ring * spokes, 1 + (ring + 1) * spokes
        triangles.append(np.stack([inner + spoke, outer + spoke, outer + following], axis=1))
        triangles.append(np.stack([inner + spoke, outer + following, inner + following], axis=1))
    return np.concatenate(triangles)
