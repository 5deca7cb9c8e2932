"""The mean face as a mesh whose vertices are labelled as skin, waterline, eyeball or inside of the mouth."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.mesh import (
    OUTLINE_BOTTOM,
    OUTLINE_HALF_WIDTH,
    OUTLINE_TOP,
    HalfSkin,
    Indices,
    half_skin,
)
from focus_ray.face_models.parametric.relief import relief
from focus_ray.face_models.parametric.surface import Array, base_surface, to_chart

SKIN, WATERLINE, EYEBALL, POCKET = range(4)
"""Values of Template.kind: the region of a vertex."""

_WATERLINE_INSET, _WATERLINE_DEPTH = 0.93, 2.2
_UV_ISLANDS = 0.12  # of the texture's height, below the skin: the eyeballs and the mouth's inside


@dataclass(frozen=True)
class Template:
    """The mean face. V vertices in mm; a vertex that is not skin has the chart coordinates of its nearest skin.

    Attributes:
        s: [V] chart coordinate across, mm.
        v: [V] chart coordinate along, mm.
        kind: [V] SKIN, WATERLINE, EYEBALL or POCKET.
        row: [V] row of a pocket vertex in mouth.POCKET, else -1.
        anchor_upper: [V] vertex that a waterline vertex follows; for a pocket vertex the upper edge of the slit.
        anchor_lower: [V] for a pocket vertex the lower edge of the slit; the weights of both are those of its row.
        lip: [V] +1 on the upper lip's edge at the slit, -1 on the lower's, else 0; the two edges coincide in space.
        uv: [V, 2] texture coordinates in [0, 1].
        nostrils: [V] which vertices lie inside a nostril; None: the mesh has none, they are painted.
    """

    vertices: Array
    faces: Indices
    s: Array
    v: Array
    kind: NDArray[np.int64]
    row: NDArray[np.int64]
    anchor_upper: Indices
    anchor_lower: Indices
    lip: NDArray[np.int64]
    uv: Array
    nostrils: NDArray[np.bool_] | None = None

    @property
    def side(self) -> Array:
        """|x| in mm."""
        return np.abs(self.vertices[:, 0])

    def eyeball(self, sign: int) -> NDArray[np.bool_]:
        """Return the mask of one eyeball's vertices: `sign` +1 for the subject's left, -1 for the right."""
        return (self.kind == EYEBALL) & (self.vertices[:, 0] * sign > 0)

    def lid_rim(self, sign: int) -> Indices:
        """Return the skin vertices at the lids' edge of one eye: `sign` +1 for the subject's left, -1 for the right."""
        waterline = (self.kind == WATERLINE) & (self.vertices[:, 0] * sign > 0)
        return self.anchor_upper[waterline]


@dataclass
class _Half:
    """Half a template under construction."""

    vertices: Array
    faces: Indices
    s: Array
    v: Array
    kind: NDArray[np.int64]
    row: NDArray[np.int64]
    anchor_upper: Indices
    anchor_lower: Indices
    lip: NDArray[np.int64]

    def add(self, vertices: Array, faces: Indices, kind: int, like: Indices, lower: Indices, row: Indices) -> None:
        """Append vertices that follow the existing vertices `like` and `lower`; faces index the whole half."""
        count = len(vertices)
        self.vertices = np.concatenate([self.vertices, vertices])
        self.faces = np.concatenate([self.faces, faces])
        self.s = np.concatenate([self.s, self.s[like]])
        self.v = np.concatenate([self.v, self.v[like]])
        self.kind = np.concatenate([self.kind, np.full(count, kind)])
        self.row = np.concatenate([self.row, row])
        self.anchor_upper = np.concatenate([self.anchor_upper, like])
        self.anchor_lower = np.concatenate([self.anchor_lower, lower])
        self.lip = np.concatenate([self.lip, np.zeros(count, dtype=np.int64)])


def build_template(spacing: float) -> Template:
    """Build the mean face.

    Args:
        spacing: scale of the distance between vertices (see mesh.half_skin).

    Raises:
        FaceModelError: the mesh at this spacing has no edges along a rim.
    """
    skin = half_skin(spacing)
    half = _skin_half(skin)
    _add_waterline(half, skin.lid)
    _add_pocket(half, skin)
    _add_eyeball(half, skin.lid, spacing)
    return _mirror(half)


def _skin_half(skin: HalfSkin) -> _Half:
    s, v = skin.points.T
    x, y, z = base_surface(s, v)
    x = np.where(s == 0, 0.0, x)
    none = np.arange(len(s))
    kind = np.full(len(s), SKIN)
    vertices = np.column_stack([x, y, relief(x, y, z)])
    lip = np.zeros(len(s), dtype=np.int64)
    lip[skin.upper_lip[:-1]], lip[skin.lower_lip[:-1]] = 1, -1
    return _Half(vertices, skin.triangles, s, v, kind, np.full(len(s), -1), none, none, lip)


def _strip(outer: Indices, inner: Indices) -> Indices:
    """Return triangles between two rows of equal length; `inner` lies to the left along the direction of `outer`."""
    a, b, c, d = outer[:-1], outer[1:], inner[:-1], inner[1:]
    return np.concatenate([np.column_stack([a, b, d]), np.column_stack([a, d, c])])


def _add_waterline(half: _Half, lid: Indices) -> None:
    """Add the lid's thickness: a ring from its edge back into the eye."""
    rim = half.vertices[lid]
    centre = rim.mean(axis=0)
    ring = centre + (rim - centre) * [_WATERLINE_INSET, _WATERLINE_INSET, 1.0]
    ring[:, 2] = np.minimum(rim[:, 2], eyes.eyeball_height(ring[:, 0], ring[:, 1]) + eyes.LID_THICKNESS)
    ring[:, 2] -= _WATERLINE_DEPTH
    ids = len(half.vertices) + np.arange(len(lid))
    faces = _strip(np.append(lid, lid[0]), np.append(ids, ids[0]))
    half.add(ring, faces, WATERLINE, lid, lid, np.full(len(lid), -1))


def _add_pocket(half: _Half, skin: HalfSkin) -> None:
    """Add the mouth's inside: strips from the upper lip's edge round to the lower lip's, all ending in the corner."""
    upper, lower, corner = skin.upper_lip[:-1], skin.lower_lip[:-1], skin.upper_lip[-1:]
    slit = (half.vertices[upper] + half.vertices[lower]) / 2
    half.vertices[upper] = half.vertices[lower] = slit  # the lips of the mean face touch
    rows = mouth.pocket_vertices(slit)
    first = len(half.vertices) + np.arange(len(rows)) * len(upper)
    columns = np.arange(len(upper))
    lines = [np.concatenate([line, corner]) for line in (upper, *(start + columns for start in first), lower)]
    strips = [_strip(below, above) for above, below in pairwise(lines)]
    faces = np.concatenate(strips)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    repeat = len(rows)
    row = np.repeat(np.arange(repeat), len(upper))
    half.add(rows.reshape(-1, 3), faces, POCKET, np.tile(upper, repeat), np.tile(lower, repeat), row)


def _add_eyeball(half: _Half, lid: Indices, spacing: float) -> None:
    patch, faces = eyes.eyeball_patch(2 * round(max(8, 9 / spacing)), max(1, round(0.9 / spacing)))
    like = np.full(len(patch), lid[0])
    first = len(half.vertices)
    half.add(patch, faces + first, EYEBALL, like, like, np.full(len(patch), -1))
    half.s[first:], half.v[first:] = to_chart(patch[:, 0], patch[:, 1])


def _mirror(half: _Half) -> Template:
    """Join the half with its mirror image at the midline (x = 0)."""
    on_midline = half.vertices[:, 0] == 0
    moved = np.flatnonzero(~on_midline)
    twin = np.arange(len(half.vertices))
    twin[moved] = len(half.vertices) + np.arange(len(moved))
    mirror = np.array([-1.0, 1.0, 1.0])
    s = np.concatenate([half.s, -half.s[moved]])
    v = np.concatenate([half.v, half.v[moved]])
    kind = np.concatenate([half.kind, half.kind[moved]])
    vertices = np.concatenate([half.vertices, half.vertices[moved] * mirror])
    return Template(
        vertices=vertices,
        faces=np.concatenate([half.faces, twin[half.faces][:, ::-1]]),
        s=s,
        v=v,
        kind=kind,
        row=np.concatenate([half.row, half.row[moved]]),
        anchor_upper=np.concatenate([half.anchor_upper, twin[half.anchor_upper[moved]]]),
        anchor_lower=np.concatenate([half.anchor_lower, twin[half.anchor_lower[moved]]]),
        lip=np.concatenate([half.lip, half.lip[moved]]),
        uv=_texture_coordinates(vertices, s, v, kind),
    )


def _texture_coordinates(vertices: Array, s: Array, v: Array, kind: NDArray[np.int64]) -> Array:
    """Compute uv: the chart above; in the strip below it, frontal images of the eyeballs and of the mouth's inside."""
    u = 0.5 + 0.5 * s / OUTLINE_HALF_WIDTH
    w = _UV_ISLANDS + (1 - _UV_ISLANDS) * (v - OUTLINE_BOTTOM) / (OUTLINE_TOP - OUTLINE_BOTTOM)
    for sign, place in ((-1, 0.1), (1, 0.9)):
        ball = (kind == EYEBALL) & (vertices[:, 0] * sign > 0)
        u[ball] = place + (vertices[ball, 0] - sign * eyes.EYE_CENTRE[0]) / 200
        w[ball] = _UV_ISLANDS / 2 + (vertices[ball, 1] - eyes.EYE_CENTRE[1]) / 300
    inside = kind == POCKET
    u[inside] = 0.5 + vertices[inside, 0] / 200
    w[inside] = _UV_ISLANDS / 2 + (vertices[inside, 2] - 20) / 500
    return np.clip(np.column_stack([u, w]), 0, 1)
