"""Points and triangles of half a face in the chart: feature lines first, then a graded fill, joined by Delaunay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from scipy.spatial import Delaunay, KDTree

from focus_ray.errors import FaceModelError
from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.surface import Array, to_chart

Indices = NDArray[np.int64]

# Outline of the face in the chart: a superellipse (mm).
OUTLINE_HALF_WIDTH, OUTLINE_BOTTOM, OUTLINE_TOP, OUTLINE_EXPONENT = 112.0, -128.0, 110.0, 2.9

# Distance (mm) between points at spacing 1: fine at the features, growing with the distance to them.
_FINEST, _GROWTH, _COARSEST = 1.55, 0.075, 6.5
# Share of that distance that stays free around a point: on the rims of the holes, on feature lines, in the fill.
_RIM_CLEARANCE, _LINE_CLEARANCE, _FILL_CLEARANCE = 0.8, 0.62, 0.86
_CANDIDATES_PER_SPACING = 3.0
_SMOOTHING_STEPS = 6

_BROW_LINE = ((11.5, 44.0), (19.0, 46.2), (28.0, 48.3), (37.0, 49.3), (46.0, 47.9), (54.0, 43.8), (59.0, 40.0))
_LID_RINGS = (1.3, 3.0, 5.2)
_BROW_HALF_HEIGHT = 3.0
_ALA_LINE = ((18.0, -4.5), (18.9, -8.5), (18.6, -12.5), (16.5, -15.8), (12.5, -17.2))
_NOSTRIL = ((4.2, -17.6), (6.8, -18.2), (9.6, -17.4), (9.2, -15.6), (6.8, -15.0), (4.6, -15.8))


@dataclass(frozen=True)
class HalfSkin:
    """Half the skin (x >= 0) in the chart, with the rims of its two holes.

    Attributes:
        points: [N, 2] chart coordinates (s, v), mm.
        triangles: [F, 3] indices of points.
        lid: indices of the eye's rim, counter-clockwise.
        upper_lip: indices of the upper rim of the mouth, from the midline to the corner, which is included.
        lower_lip: the same for the lower rim; both end in the same corner point.
    """

    points: Array
    triangles: Indices
    lid: Indices
    upper_lip: Indices
    lower_lip: Indices


def half_skin(spacing: float) -> HalfSkin:
    """Mesh half the skin.

    Args:
        spacing: scale of all distances between points; 1 gives about 3,000 points.

    Raises:
        FaceModelError: the mesh at this spacing has no edges along a rim.
    """
    lid_loop = eyes.lid_loop(max(9, round(21 / spacing)))
    slit_x = mouth.CORNER[0] * np.linspace(0, 1, max(8, round(17 / spacing)) + 1)
    upper = np.column_stack([slit_x, mouth.inner_contour(slit_x, upper=True)])
    lower = np.column_stack([slit_x, mouth.inner_contour(slit_x, upper=False)])
    rims = _to_chart(np.concatenate([lid_loop, upper, lower[:-1]]))
    features = _to_chart(np.concatenate(_feature_lines(lid_loop, slit_x, spacing)))
    holes = (rims[: len(lid_loop)], _mouth_hole(rims[len(lid_loop) :], len(slit_x)))
    points = _place_points(rims, features, holes, spacing)
    first = len(lid_loop)
    lid_ids = np.arange(first)
    upper_ids = np.arange(first, first + len(slit_x))
    lower_ids = np.append(np.arange(first + len(slit_x), len(rims)), upper_ids[-1])
    triangles = Delaunay(points).simplices.astype(np.int64)
    for rim in (np.append(lid_ids, lid_ids[0]), upper_ids, lower_ids):
        triangles = _enforce_edges(points, triangles, rim)
    triangles = _orient_triangles(points, _remove_holes(points, triangles, holes))
    return HalfSkin(points, triangles, lid_ids, upper_ids, lower_ids)


def _to_chart(plane: Array) -> Array:
    return np.column_stack(to_chart(plane[:, 0], plane[:, 1]))


def _feature_lines(lid_loop: Array, slit_x: Array, spacing: float) -> list[Array]:
    """Return the frontal positions of the lines that the mesh follows, the most important first."""
    lines = [eyes.expand_loop(lid_loop, distance * max(1.0, spacing)) for distance in _LID_RINGS]
    for fraction in (1.0, 0.5, 1.3):
        for upper in (True, False):
            lines.append(np.column_stack([slit_x, mouth.lip_row(slit_x, upper, fraction)])[:-1])
    shift = np.array([0.0, _BROW_HALF_HEIGHT])
    brow = _resample(_BROW_LINE, 2.1 * spacing)
    lines += [brow, brow + shift, brow - shift]
    lines += [_resample(_ALA_LINE, 2.2 * spacing), _resample(_NOSTRIL, 1.9 * spacing)]
    return lines


def _resample(corners: Sequence[tuple[float, float]], step: float) -> Array:
    knots = np.asarray(corners)
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(knots, axis=0), axis=1).cumsum()])
    at = np.linspace(0, length[-1], max(2, round(length[-1] / step) + 1))
    return np.column_stack([np.interp(at, length, knots[:, axis]) for axis in range(2)])


def _place_points(rims: Array, features: Array, holes: tuple[Array, Array], spacing: float) -> Array:
    """Place the rims, then feature lines, midline, outline and fill, each point at a distance from earlier ones."""
    tree = KDTree(np.concatenate([rims, features]))

    def room(points: Array) -> Array:
        return spacing * np.minimum(_FINEST + _GROWTH * tree.query(points)[0], _COARSEST)

    midline = np.arange(OUTLINE_BOTTOM, OUTLINE_TOP, _FINEST * spacing / _CANDIDATES_PER_SPACING)
    outline = _outline(_FINEST * spacing / _CANDIDATES_PER_SPACING)
    lines = [outline[[0, -1]], np.column_stack([np.zeros_like(midline), midline]), outline]
    lines = [line[~_inside_any(holes, line)] for line in lines]
    fill = _candidates(_FINEST * spacing / _CANDIDATES_PER_SPACING)
    fill = fill[(fill[:, 0] > 0.6 * room(fill)) & ~_inside_any(holes, fill)]
    points = np.concatenate([rims, features, *lines, fill])
    fixed = len(points) - len(fill)
    clearance = np.full(len(points), _FILL_CLEARANCE)
    clearance[: len(rims) + len(features)] = _LINE_CLEARANCE
    clearance[: len(rims)] = _RIM_CLEARANCE
    kept = _thin_points(points, clearance * room(points), len(rims))
    return _smooth(points[kept], int(kept[:fixed].sum()))


def _inside_any(holes: tuple[Array, Array], points: Array) -> NDArray[np.bool_]:
    return np.logical_or.reduce([Polygon(hole).contains_points(points) for hole in holes])


def _outline(step: float) -> Array:
    """Return points of half the outline, from the lower to the upper end of the midline."""
    middle, half_height = (OUTLINE_TOP + OUTLINE_BOTTOM) / 2, (OUTLINE_TOP - OUTLINE_BOTTOM) / 2
    angle = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    power = 2 / OUTLINE_EXPONENT
    across = OUTLINE_HALF_WIDTH * np.maximum(np.cos(angle), 0) ** power
    along = middle + half_height * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    across[[0, -1]] = 0.0
    return _resample(list(zip(across, along, strict=True)), step)


def _candidates(step: float) -> Array:
    """Return a fine hexagonal grid inside the outline."""
    s, v = np.arange(0, OUTLINE_HALF_WIDTH, step), np.arange(OUTLINE_BOTTOM, OUTLINE_TOP, step * np.sqrt(3) / 2)
    grid = np.stack(np.meshgrid(s, v), axis=-1)
    grid[1::2, :, 0] += step / 2
    grid = grid.reshape(-1, 2)
    middle, half_height = (OUTLINE_TOP + OUTLINE_BOTTOM) / 2, (OUTLINE_TOP - OUTLINE_BOTTOM) / 2
    radius = (grid[:, 0] / OUTLINE_HALF_WIDTH) ** OUTLINE_EXPONENT
    radius += np.abs((grid[:, 1] - middle) / half_height) ** OUTLINE_EXPONENT
    return grid[radius < 0.995]


def _thin_points(points: Array, radius: Array, keep: int) -> NDArray[np.bool_]:
    """Return which points remain when each removes the later ones within its radius; the first `keep` always remain."""
    tree = KDTree(points)
    free = np.ones(len(points), dtype=bool)
    for index in range(len(points)):
        if free[index] or index < keep:
            free[index] = True
            near = np.array(tree.query_ball_point(points[index], radius[index]))
            free[near[near > index]] = False
    return free


def _mouth_hole(rims: Array, columns: int) -> Array:
    upper, lower = rims[:columns], rims[columns:]
    return np.concatenate([lower, upper[::-1]])


def _smooth(points: Array, fixed: int) -> Array:
    """Move the points after the first `fixed` to the mean of their neighbours, a few times."""
    movable = (np.arange(len(points)) >= fixed)[:, None]
    for _ in range(_SMOOTHING_STEPS):
        starts, neighbours = Delaunay(points).vertex_neighbor_vertices
        means = np.add.reduceat(points[neighbours], starts[:-1], axis=0) / np.diff(starts)[:, None]
        points = np.where(movable, 0.5 * points + 0.5 * means, points)
    return points


def _enforce_edges(points: Array, triangles: Indices, rim: Indices) -> Indices:
    """Flip the edge that crosses a missing edge of the rim, so that every edge of the rim is an edge of the mesh.

    Raises:
        FaceModelError: more than one edge crosses, because points lie too near to the rim.
    """
    triangles = triangles.copy()
    for a, b in pairwise(rim.tolist()):
        has_a, has_b = (triangles == a).any(axis=1), (triangles == b).any(axis=1)
        if (has_a & has_b).any():
            continue
        for one, two in product(np.flatnonzero(has_a), np.flatnonzero(has_b)):
            shared: list[int] = np.intersect1d(triangles[one], triangles[two]).tolist()
            if len(shared) == 2 and _cross(points, (a, b), (shared[0], shared[1])):
                triangles[one], triangles[two] = (a, b, shared[0]), (a, b, shared[1])
                break
        else:
            raise FaceModelError(f"the face mesh has no edge {a}-{b} along its rim; choose another resolution")
    return triangles


def _cross(points: Array, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether two edges without a common end cross."""

    def side(edge: tuple[int, int], point: int) -> bool:
        (x0, y0), (x1, y1), (x, y) = points[edge[0]], points[edge[1]], points[point]
        return bool((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0)

    return side(first, second[0]) != side(first, second[1]) and side(second, first[0]) != side(second, first[1])


def _remove_holes(points: Array, triangles: Indices, holes: tuple[Array, Array]) -> Indices:
    centroids = points[triangles].mean(axis=1)
    return triangles[~_inside_any(holes, centroids)]


def _orient_triangles(points: Array, triangles: Indices) -> Indices:
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    solid = np.abs(area) > 1e-6
    flipped = np.where((area < 0)[:, None], triangles[:, ::-1], triangles)
    return flipped[solid]
