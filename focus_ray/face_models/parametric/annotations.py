"""Positions of the 68 landmarks and the named parts on the template."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from focus_ray.face_models.landmarks import FLIP, N_LANDMARKS
from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.mesh import Indices
from focus_ray.face_models.parametric.surface import Array, to_chart
from focus_ray.face_models.parametric.template import EYEBALL, POCKET, SKIN, WATERLINE, Template

# Frontal positions (mm) of the landmarks of the midline and the subject's left half.
_LEFT_HALF: dict[int, tuple[float, float]] = {
    8: (0.0, -84.5), 9: (16.5, -83.0), 10: (32.0, -76.5), 11: (45.5, -65.0), 12: (56.0, -50.0), 13: (63.5, -31.0),
    14: (67.5, -12.5), 15: (69.6, 6.0), 16: (70.6, 24.5),
    22: (13.0, 44.2), 23: (22.5, 47.2), 24: (34.0, 49.2), 25: (45.0, 48.2), 26: (55.5, 43.0),
    27: (0.0, 31.0), 28: (0.0, 19.0), 29: (0.0, 7.0), 30: (0.0, -4.6),
    33: (0.0, -18.6), 34: (6.8, -17.8), 35: (13.4, -15.6),
}  # fmt: skip
_LID_FRACTIONS = {43: (0.33, True), 44: (0.67, True), 46: (0.67, False), 47: (0.33, False)}
_LIP_POINTS = {
    51: (0.0, True, 1.0), 52: (5.6, True, 1.0), 53: (15.0, True, 1.0), 55: (15.5, False, 1.0), 56: (7.5, False, 1.0),
    57: (0.0, False, 1.0), 62: (0.0, True, 0.0), 63: (8.0, True, 0.0), 64: (22.0, True, 0.0), 65: (8.0, False, 0.0),
    66: (0.0, False, 0.0),
}  # fmt: skip


def _landmark_positions() -> dict[int, tuple[float, float]]:
    places = dict(_LEFT_HALF)
    places[42], places[45], places[54] = eyes.INNER_CORNER, eyes.OUTER_CORNER, mouth.CORNER
    for point, (fraction, upper) in _LID_FRACTIONS.items():
        x, y = eyes.lid_contour(np.array([fraction]), upper)
        places[point] = (float(x[0]), float(y[0]))
    for point, (x, upper, fraction) in _LIP_POINTS.items():
        places[point] = (x, float(mouth.lip_row(np.array([x]), upper, fraction)[0]))
    return places


def landmark_barycentrics(face: Template) -> tuple[Indices, Array]:
    """Locate the landmarks on the template's triangles, exactly mirror-symmetric.

    The template's second half of triangles is the mirror of the first, with the corners in reverse order.

    Returns:
        Triangle [68] and barycentric weights [68, 3] of each landmark.
    """
    places = _landmark_positions()
    points = np.column_stack(to_chart(*np.array(list(places.values())).T))
    half = len(face.faces) // 2
    left_skin = np.flatnonzero((face.kind[face.faces[:half]] == SKIN).all(axis=1))
    corners = np.stack([face.s, face.v], axis=1)[face.faces[left_skin]]
    found, weights = _nearest_triangles(points, corners)
    triangles, barycentric = np.zeros(N_LANDMARKS, dtype=np.int64), np.zeros((N_LANDMARKS, 3))
    for row, point in enumerate(places):
        partner = FLIP[point]
        triangles[partner], barycentric[partner] = left_skin[found[row]] + half, weights[row, ::-1]
        triangles[point], barycentric[point] = left_skin[found[row]], weights[row]
    return triangles, barycentric


def _nearest_triangles(points: Array, corners: Array) -> tuple[Indices, Array]:
    """Return for each point the triangle that contains it or is nearest, and its barycentric weights there."""
    a, b, c = np.moveaxis(corners, 1, 0)
    edges = np.stack([b - a, c - a], axis=-1)
    inverse = np.linalg.inv(edges)
    weights = np.einsum("fij,pfj->pfi", inverse, points[:, None] - a)
    barycentric = np.concatenate([1 - weights.sum(axis=-1, keepdims=True), weights], axis=-1)
    clamped = np.clip(barycentric, 0, 1)
    clamped /= clamped.sum(axis=-1, keepdims=True)
    distance = np.linalg.norm(np.einsum("pfk,fkj->pfj", clamped, corners) - points[:, None], axis=-1)
    found = distance.argmin(axis=1)
    return found, clamped[np.arange(len(points)), found]


def part_masks(face: Template) -> dict[str, NDArray[np.bool_]]:
    """Return the named parts as vertex masks [V]; eyes, brows, nose and mouth are disjoint."""
    side, y = face.side, face.vertices[:, 1]
    skin = face.kind == SKIN
    plane = np.column_stack([side, y])
    near_lid = KDTree(eyes.lid_loop(100)).query(plane)[0] < 2.6
    masks = {"eyes": (face.kind == EYEBALL) | (face.kind == WATERLINE) | (skin & near_lid)}
    brow_x = np.linspace(11, 58, 40)
    brow = np.column_stack([brow_x, np.interp(brow_x, [11, 28, 38, 48, 58], [43.8, 48.3, 49.3, 47, 40.8])])
    masks["brows"] = skin & (KDTree(brow).query(plane)[0] < 4.2) & ~masks["eyes"]
    inside = np.minimum(side, mouth.CORNER[0])
    lips = (y <= mouth.lip_row(inside, True, 1.15)) & (y >= mouth.lip_row(inside, False, 1.12))
    masks["mouth"] = (face.kind == POCKET) | (skin & lips & (side <= mouth.CORNER[0] + 1.0))
    nose_width = np.interp(y, [-21, -16, -8, 5, 32], [12, 20, 20, 13, 8])
    masks["nose"] = skin & (y > -20.5) & (y < 36) & (side < nose_width) & ~masks["eyes"]
    taken = np.logical_or.reduce(list(masks.values()))
    free = skin & ~taken
    masks["forehead"] = free & (y > 47) & (np.abs(face.s) < 75)
    masks["jaw"] = free & ((y < -52) | ((y < -12 - 0.2 * (side - 50)) & (np.abs(face.s) > 68)))
    masks["cheeks"] = free & ~masks["jaw"] & (y < 22) & (y > -48) & (side > 20)
    return masks
