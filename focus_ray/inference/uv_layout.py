"""The layout of a face's texture: the face model's uv, its mouth flattened, and what lies behind each texel.

A model has one uv per vertex. Where a hole of the chart is filled from another place of the texture (the mouth's inside
of the embedded model), triangles would stretch over the chart in between. Such a part is laid out anew, in its own
place, and gets its own uv at the vertices that it shares with the chart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.render.rasterize import interpolate, rasterize
from focus_ray.geometry.mesh_writer import Mesh

_BRIDGE = 8.0  # edges that are so many times longer in the texture than usual lead to another part of it
_MARGIN = 0.012  # of the texture's side, between two parts
_MAX_GROWTH = 4.0  # of the height of a part that is laid out anew
_TWIN_MM = 1.0  # two points are mirror images of each other if they are as near as this
_NORMAL_MM = 5.0  # weight of the normal in that distance: the lips touch, and look at each other
_STRETCH = 3.0  # a triangle and its mirror image differ by less in the length of their edges
_CHUNK = 64  # points whose neighbours are searched at once
_CHANNELS = 3  # that are interpolated at once: the kernel is compiled for this number
_LEAST_COVERAGE = 0.05  # of the texture; less is no layout


@dataclass(frozen=True, eq=False)
class UvLayout:
    """Texture coordinates of a face model's triangles, which may differ from its uv.

    Attributes:
        uv: in [0, 1], v upwards; the first V are those of the model's vertices.
        faces: indices of uv, for the corners of the model's triangles.
        source: the vertex of each uv.
        mirror_uv: uv of the mirror image of each uv in the plane x = 0 of the mean face; NaN if it has none.
    """

    uv: Float[np.ndarray, "U 2"]
    faces: Int[np.ndarray, "F 3"]
    source: Int[np.ndarray, " U"]
    mirror_uv: Float[np.ndarray, "U 2"]


@dataclass(frozen=True, eq=False)
class TexelMap:
    """The triangles behind the texels of a texture of one size, and the mirror image of each texel.

    Attributes:
        layout: the layout.
        size: side T of the texture, px.
        ids: triangle of each texel, -1 outside of the layout.
        mirror: x and y of the mirror image of each texel [px of the texture]; -1 if it has none.
        skin: which texels lie in the largest connected part; the others are eyeballs and the mouth's inside.
    """

    layout: UvLayout
    size: int
    ids: Int[np.ndarray, "T T"]
    mirror: Float[np.ndarray, "T T 2"]
    skin: Bool[np.ndarray, "T T"]
    _screen: torch.Tensor = field(repr=False)

    @property
    def covered(self) -> Bool[np.ndarray, "T T"]:
        """Which texels lie in a triangle."""
        return self.ids >= 0

    def interpolate(self, values: Float[np.ndarray, "U D"]) -> Float[np.ndarray, "D T T"]:
        """Interpolate values of the uv linearly over the triangles.

        Args:
            values: one row for each uv of the layout.

        Returns:
            Values of the texels, 0 outside of the layout.
        """
        return _interpolate(self._screen, values, self.layout.faces, self.ids)


_CACHE: WeakKeyDictionary[MorphableModel, dict[int, TexelMap]] = WeakKeyDictionary()
_LOCK = Lock()


def texel_map(model: MorphableModel, size: int) -> TexelMap | None:
    """Return the layout of a face model at one size of texture; computed once for each model and size.

    Args:
        model: the face model.
        size: side of the texture, px.

    Returns:
        The layout; None if the uv of the model unfold no surface.
    """
    with _LOCK:
        known = _CACHE.setdefault(model, {})
        if size not in known:
            known[size] = _build_texel_map(build_layout(model), size)
    return known[size] if known[size].covered.mean() >= _LEAST_COVERAGE else None


def build_layout(model: MorphableModel) -> UvLayout:
    """Lay out the triangles of a face model in its texture.

    Args:
        model: the face model.
    """
    mean, uv, faces = (values.detach().cpu().numpy() for values in (model.mean, model.uv, model.faces))
    mean, uv = mean.astype(np.float64), uv.astype(np.float64)
    corners, source = faces.copy(), np.arange(len(uv))
    for triangles in _bridged_parts(mean, uv, faces):
        boundary = _boundary_loop(faces[triangles])
        if boundary is None:
            continue
        boundary = np.roll(boundary, -int(mean[boundary, 0].argmax()))
        inside = np.setdiff1d(faces[triangles], boundary)
        box = _free_box(uv, inside)
        place = np.arange(len(uv))  # index of the uv of each vertex within this part
        place[boundary] = len(source) + np.arange(len(boundary))
        corners[triangles] = place[faces[triangles]]
        source = np.append(source, boundary)
        flat = _flatten(mean, faces[triangles], boundary)
        extended = np.concatenate([uv, np.zeros((len(source) - len(uv), 2))])
        extended[place[np.append(boundary, inside)]] = box[0] + (flat + 1) / 2 * (box[1] - box[0])
        uv = extended
    return UvLayout(uv, corners, source, _mirror_uv(mean, faces, uv, source, len(mean)))


def _bridged_parts(mean: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> Iterator[Int[np.ndarray, " K"]]:
    """Yield the triangles of each part of the mesh that is joined to a larger one by triangles across the texture."""
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1)
    lengths, in_texture = (np.linalg.norm(x[edges[..., 0]] - x[edges[..., 1]], axis=-1) for x in (mean, uv))
    ratio = in_texture / np.maximum(lengths, 1e-6)
    bridges = (ratio > _BRIDGE * np.median(ratio)).any(axis=1)
    if not bridges.any():
        return
    part = _connected_parts(faces[~bridges], len(mean))
    size = np.bincount(part)
    of_corners = part[faces]
    smallest = np.take_along_axis(of_corners, size[of_corners].argmin(axis=1)[:, None], axis=1)[:, 0]
    for one in np.unique(smallest[bridges & (of_corners != of_corners[:, :1]).any(axis=1)]):
        yield np.flatnonzero(smallest == one)


def _connected_parts(faces: Int[np.ndarray, "K 3"], n_vertices: int) -> Int[np.ndarray, " V"]:
    """Return the number of the connected part of each vertex."""
    first, second = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    part, before = np.arange(n_vertices), None
    while before is None or (part != before).any():  # the least number spreads over the edges, in ever larger steps
        before = part.copy()
        least = np.minimum(part[first], part[second])
        np.minimum.at(part, before[first], least)
        np.minimum.at(part, before[second], least)
        np.minimum.at(part, first, least)
        np.minimum.at(part, second, least)
        part = part[part]
    return np.unique(part, return_inverse=True)[1]


def _boundary_loop(faces: Int[np.ndarray, "K 3"]) -> Int[np.ndarray, " N"] | None:
    """Return the vertices around a disk of triangles in order, triangles on the left; None if it is not a disk."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {(a, b) for a, b in edges.tolist()}
    following = {a: b for a, b in edges.tolist() if (b, a) not in known}
    n_vertices, n_edges = len(np.unique(faces)), (len(edges) + len(following)) // 2
    if not following or n_vertices - n_edges + len(faces) != 1:
        return None
    loop = [next(iter(following))]
    while (after := following.get(loop[-1], loop[0])) != loop[0] and len(loop) <= len(following):
        loop.append(after)
    return np.array(loop) if len(loop) == len(following) else None


def _free_box(uv: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high corner of the box of a part, made as high as the parts around it allow."""
    low, high = uv[inside].min(axis=0), uv[inside].max(axis=0)
    others = np.delete(uv, inside, axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    for growth in np.linspace(_MAX_GROWTH, 1.0, 31):
        reach = half * [1.0, growth]
        low, high = middle - reach, middle + reach
        met = ((others > low - _MARGIN) & (others < high + _MARGIN)).all(axis=1).any()
        if not met and (low >= _MARGIN / 2).all() and (high <= 1 - _MARGIN / 2).all():
            break
    return low, high


def _flatten(mean: np.ndarray, faces: np.ndarray, boundary: np.ndarray) -> Float[np.ndarray, "N 2"]:
    """Map a disk of triangles to the unit disk: its boundary by length, then its inner vertices (Tutte's embedding).

    The boundary begins with its largest x, which becomes (1, 0); its least x becomes (-1, 0).

    Returns:
        Places of the boundary, then of the inner vertices in ascending order.
    """
    half = int(mean[boundary, 0].argmin())
    steps = np.linalg.norm(mean[np.roll(boundary, -1)] - mean[boundary], axis=1) + 1e-3
    way = np.append(0.0, steps.cumsum())
    angle = np.pi * np.interp(way[:-1], [0.0, way[half], way[-1]], [0.0, 1.0, 2.0])
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    inside = np.setdiff1d(faces, boundary)
    number = np.full(len(mean), -1)
    number[np.append(boundary, inside)] = np.arange(len(boundary) + len(inside))
    local, n = number[faces], len(boundary) + len(inside)
    adjacent = np.zeros((n, n))
    for one, two in ((0, 1), (1, 2), (2, 0)):
        adjacent[local[:, one], local[:, two]] = adjacent[local[:, two], local[:, one]] = 1.0
    adjacent = adjacent[len(boundary) :]
    laplacian = np.diag(adjacent.sum(axis=1)) - adjacent[:, len(boundary) :]
    inner = np.linalg.solve(laplacian, adjacent[:, : len(boundary)] @ circle)
    return np.concatenate([circle, inner])


def _mirror_uv(
    mean: np.ndarray, faces: np.ndarray, uv: np.ndarray, source: np.ndarray, n_vertices: int
) -> Float[np.ndarray, "U 2"]:
    """Return the uv of the vertex that is the mirror image of each, NaN where there is none."""
    normals = Mesh(mean.astype(np.float32), np.zeros_like(mean, np.float32), faces).normals
    again = 1000.0 * (np.arange(len(uv)) >= n_vertices)[:, None]  # the uv of the parts laid out anew match each other
    points = np.hstack([mean[source], _NORMAL_MM * normals[source], again])
    mirrored = points * [-1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0]
    distance, twin = _nearest(points, mirrored)
    return np.where((distance < _TWIN_MM)[:, None], uv[twin], np.nan)


def _nearest(points: np.ndarray, queries: np.ndarray) -> tuple[Float[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Return distance and number of the nearest point of each query among those at about its height y."""
    order, queried = np.argsort(points[:, 1], kind="stable"), np.argsort(queries[:, 1], kind="stable")
    height = points[order, 1]
    distance, nearest = np.full(len(queries), np.inf), np.zeros(len(queries), np.int64)
    for rows in np.array_split(queried, max(1, len(queried) // _CHUNK)):
        low, high = queries[rows[0], 1] - _TWIN_MM, queries[rows[-1], 1] + _TWIN_MM
        around = order[np.searchsorted(height, low) : np.searchsorted(height, high, side="right")]
        if len(around):
            squared = np.square(queries[rows][:, None] - points[around]).sum(axis=2)
            place = squared.argmin(axis=1)
            distance[rows] = np.sqrt(np.take_along_axis(squared, place[:, None], axis=1)[:, 0])
            nearest[rows] = around[place]
    return distance, nearest


def _build_texel_map(layout: UvLayout, size: int) -> TexelMap:
    screen = torch.from_numpy(np.column_stack([_to_px(layout.uv, size), np.ones(len(layout.uv))]))[None]
    ids = rasterize(screen, torch.from_numpy(layout.faces), size, size)[0].numpy()
    places = _to_px(np.nan_to_num(layout.mirror_uv), size)
    mirror = _interpolate(screen, places, layout.faces, ids).transpose(1, 2, 0)
    edges, mirrored = (_edge_lengths(x, layout.faces) for x in (layout.uv, layout.mirror_uv))
    matching = np.all(mirrored <= _STRETCH * edges + 1.0 / size, axis=1)  # False for NaN
    mirror[np.where(ids >= 0, ~np.take(matching, ids), True)] = -1.0
    part = _connected_parts(layout.faces, len(layout.uv))
    skin = (ids >= 0) & (part[layout.faces[ids, 0]] == np.bincount(part).argmax())
    return TexelMap(layout, size, ids, np.ascontiguousarray(mirror, np.float32), skin, screen)


def _to_px(uv: Float[np.ndarray, "N 2"], size: int) -> Float[np.ndarray, "N 2"]:
    """Return x and y in px of the texture: centres at integers, origin top-left."""
    return np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]) * size - 0.5


def _edge_lengths(places: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[faces] - places[np.roll(faces, -1, axis=1)], axis=-1)


def _interpolate(
    screen: torch.Tensor, values: Float[np.ndarray, "U D"], faces: np.ndarray, ids: np.ndarray
) -> Float[np.ndarray, "D T T"]:
    padded = np.pad(values.astype(np.float64), [(0, 0), (0, -values.shape[1] % _CHANNELS)])
    corners, pixels = torch.from_numpy(faces), torch.from_numpy(ids)[None]
    found = [
        interpolate(screen, torch.from_numpy(np.ascontiguousarray(part))[None], corners, pixels)[0].numpy()
        for part in np.split(padded, padded.shape[1] // _CHANNELS, axis=1)
    ]
    return np.concatenate(found)[: values.shape[1]]
