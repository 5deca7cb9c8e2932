"""The 68 landmarks of a model that names only some points of its face, as the Basel Face Model does.

The named points that are iBUG landmarks are used as they are. The others are the parametric face's landmarks: moved by
the similarity that takes its own named points to the model's, and then by a smooth warp of what is left between them.
"""

import json
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator

from focus_ray.errors import FaceModelError
from focus_ray.face_models.parametric.annotations import landmark_barycentrics
from focus_ray.face_models.parametric.recipe import SPACING
from focus_ray.face_models.parametric.template import build_template

NAMES = {
    8: "center.chin.tip",
    30: "center.nose.tip",
    36: "right.eye.corner_outer",
    39: "right.eye.corner_inner",
    42: "left.eye.corner_inner",
    45: "left.eye.corner_outer",
    48: "right.lips.corner",
    50: "right.lips.philtrum_ridge",
    51: "center.lips.upper.outer",
    52: "left.lips.philtrum_ridge",
    54: "left.lips.corner",
    57: "center.lips.lower.outer",
    62: "center.lips.upper.inner",
    66: "center.lips.lower.inner",
}
"""Name of the point of each iBUG landmark that the Basel Face Model has."""

_REQUIRED = (30, 36, 39, 42, 45, 48, 54)

Point = tuple[float, float, float]


def parse_named_points(text: str) -> dict[str, Point]:
    """Read points with names.

    Args:
        text: JSON, a list of {"id": name, "coordinates": [x, y, z]} or a dict from names to coordinates; or lines
            `name flag x y z`.

    Raises:
        FaceModelError: the text has neither form, or a coordinate is not finite.
    """
    try:
        if text.lstrip().startswith(("[", "{")):
            entries: Any = json.loads(text)
            pairs = entries.items() if isinstance(entries, dict) else ((e["id"], e["coordinates"]) for e in entries)
        else:
            pairs = ((words[0], words[2:5]) for words in map(str.split, text.splitlines()) if words)
        points = {str(name): (float(at[0]), float(at[1]), float(at[2])) for name, at in pairs}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise FaceModelError("the named points of the file are malformed; give a landmark file") from None
    if not np.isfinite(list(points.values())).all():
        raise FaceModelError("a named point of the file is not finite; give a landmark file")
    return points


def landmarks_from_names(points: dict[str, Point]) -> tuple[Float[np.ndarray, "68 3"], int]:
    """Compute landmarks near the surface of a model.

    Args:
        points: of the model by their names, mm.

    Returns:
        The landmarks, mm, and how many of them are named points.

    Raises:
        FaceModelError: too few points have a name of NAMES.
    """
    known = [landmark for landmark, name in NAMES.items() if name in points]
    if not set(_REQUIRED) <= set(known):
        raise FaceModelError(
            "the landmarks of this mesh are not known and its file does not name eyes, nose and mouth; "
            "give a landmark file: 68 rows in iBUG order, each a vertex"
        )
    target = np.array([points[NAMES[landmark]] for landmark in known])
    template = build_template(SPACING["full"])
    triangles, weights = landmark_barycentrics(template)
    own = np.einsum("lk,lkd->ld", weights, template.vertices[template.faces[triangles]])
    moved = _similarity(own[known], target, own)
    landmarks = moved + _smooth_warp(moved[known], target - moved[known], moved)
    landmarks[known] = target
    return landmarks, len(known)


def _smooth_warp(
    places: Float[np.ndarray, "K 3"], offsets: Float[np.ndarray, "K 3"], points: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N 3"]:
    """Interpolate offsets smoothly; those of one place, such as the two lips of a closed mouth, are averaged."""
    distinct, number, count = np.unique(places.round(6), axis=0, return_inverse=True, return_counts=True)
    mean = np.zeros_like(distinct)
    np.add.at(mean, number, offsets)
    return RBFInterpolator(distinct, mean / count[:, None], kernel="linear", degree=0)(points)


def _similarity(
    source: Float[np.ndarray, "K 3"], target: Float[np.ndarray, "K 3"], points: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N 3"]:
    """Move points by the similarity that fits source to target best (Umeyama, 1991)."""
    around_source, around_target = source.mean(axis=0), target.mean(axis=0)
    left, stretch, right = np.linalg.svd((target - around_target).T @ (source - around_source))
    flip = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    scale = (stretch * flip).sum() / ((source - around_source) ** 2).sum()
    return around_target + scale * (points - around_source) @ (left * flip @ right).T
