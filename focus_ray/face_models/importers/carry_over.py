"""Parts and colours of the parametric face, carried over to another face model by the 68 landmarks.

The parametric face's paint and parts are functions of a point's position on its surface. A warp that takes the other
model's landmarks onto the parametric ones gives each vertex such a position. No mesh is sampled.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from focus_ray.face_models.parametric import eyes, mouth
from focus_ray.face_models.parametric.annotations import landmark_barycentrics
from focus_ray.face_models.parametric.recipe import SPACING
from focus_ray.face_models.parametric.template import EYEBALL, POCKET, SKIN, Template, build_template

_IRIS_SHARE = 0.40  # of the eyeball's radius: 6 of 15 mm in ICT-FaceKit, 5.9 of 12 mm in people with the lids' shade
_NEIGHBOURS = 3
_SMOOTHING = 1e-3  # of the warp, relative to its kernel


def place_on_parametric_face(
    vertices: Float[np.ndarray, "V 3"],
    landmarks: Float[np.ndarray, "68 3"],
    eyeballs: tuple[Bool[np.ndarray, " V"], Bool[np.ndarray, " V"]] | None = None,
    mouth_inside: Mapping[str, Bool[np.ndarray, " V"]] | None = None,
    nostrils: Bool[np.ndarray, " V"] | None = None,
) -> Template:
    """Find the position of each vertex on the parametric face.

    Args:
        vertices: mean face, mm.
        landmarks: its 68 landmarks, mm.
        eyeballs: vertices of the subject's right and left eyeball.
        mouth_inside: vertices of the inside of the mouth by the name of the row in mouth.POCKET that they are like.
        nostrils: vertices inside the nostrils.

    Returns:
        A template with the positions and kinds of the vertices, without triangles.
    """
    parametric = build_template(SPACING["full"])
    triangles, weights = landmark_barycentrics(parametric)
    targets = np.einsum("lk,lkd->ld", weights, parametric.vertices[parametric.faces[triangles]])
    warped = _warp(vertices, landmarks, targets)
    kind = np.full(len(vertices), SKIN)
    row = np.full(len(vertices), -1)
    for sign, ball in zip((-1, 1), eyeballs or (), strict=False):
        kind[ball] = EYEBALL
        warped[ball] = _eyeball_positions(vertices[ball], sign)
    rows = [one.name for one in mouth.POCKET]
    for name, mask in (mouth_inside or {}).items():
        kind[mask], row[mask] = POCKET, rows.index(name)
    s, v = _chart(warped, parametric)
    return _template(warped, s, v, kind, row, nostrils)


def _warp(
    vertices: Float[np.ndarray, "V 3"], landmarks: Float[np.ndarray, "68 3"], targets: Float[np.ndarray, "68 3"]
) -> Float[np.ndarray, "V 3"]:
    """Warp vertices by the smooth map that takes landmarks to targets: an affine map plus a biharmonic spline."""
    scale = np.ptp(targets[:, 0]) / np.ptp(landmarks[:, 0])
    around = landmarks.mean(axis=0)
    spline = RBFInterpolator((landmarks - around) * scale, targets, smoothing=_SMOOTHING, kernel="linear", degree=1)
    return spline((vertices - around) * scale)


def _eyeball_positions(ball: Float[np.ndarray, "N 3"], sign: int) -> Float[np.ndarray, "N 3"]:
    """Return positions on an eyeball of the parametric face whose iris has the size of the ball's own.

    The ball looks along z. A vertex is moved to the frontal position at its arc length from the pupil.
    """
    centre = _fit_sphere(ball)
    direction = (ball - centre) / np.linalg.norm(ball - centre, axis=1, keepdims=True)
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    sideways = direction[:, :2] / np.maximum(np.linalg.norm(direction[:, :2], axis=1, keepdims=True), 1e-9)
    # The edge of the iris is at the angle whose sine is _IRIS_SHARE.
    frontal = sideways * (np.minimum(angle / np.arcsin(_IRIS_SHARE), 2.5) * eyes.IRIS)[:, None]
    placed = np.column_stack([frontal[:, 0] + sign * eyes.EYE_CENTRE[0], frontal[:, 1] + eyes.EYE_CENTRE[1]])
    return np.column_stack([placed, eyes.eyeball_height(placed[:, 0], placed[:, 1])])


def _fit_sphere(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3"]:
    """Return the centre of the sphere nearest to points, by linear least squares."""
    around = points.mean(axis=0)
    local = points - around
    design = np.column_stack([2 * local, np.ones(len(local))])
    solution = np.linalg.lstsq(design, (local**2).sum(axis=1), rcond=None)[0]
    return around + solution[:3]


def _chart(
    warped: Float[np.ndarray, "V 3"], parametric: Template
) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, " V"]]:
    """Return s and v of the nearest skin, mm."""
    skin = parametric.kind == SKIN
    distance, nearest = KDTree(parametric.vertices[skin]).query(warped, k=_NEIGHBOURS)
    weight = 1 / np.maximum(distance, 1e-6)
    weight /= weight.sum(axis=1, keepdims=True)
    s, v = ((weight * values[skin][nearest]).sum(axis=1) for values in (parametric.s, parametric.v))
    return s, v


def _template(
    vertices: Float[np.ndarray, "V 3"],
    s: Float[np.ndarray, " V"],
    v: Float[np.ndarray, " V"],
    kind: NDArray[np.int64],
    row: Int[np.ndarray, " V"],
    nostrils: Bool[np.ndarray, " V"] | None,
) -> Template:
    none = np.arange(len(vertices))
    return Template(
        vertices=vertices,
        faces=np.zeros((0, 3), np.int64),
        s=s,
        v=v,
        kind=kind,
        row=row,
        anchor_upper=none,
        anchor_lower=none,
        lip=np.zeros(len(vertices), np.int64),
        uv=np.zeros((len(vertices), 2)),
        nostrils=nostrils,
    )
