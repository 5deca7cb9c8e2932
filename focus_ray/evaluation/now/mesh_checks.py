"""Checks of a submitted mesh: colours, triangles, orientation."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import (
    LEFT_INNER_EYE,
    LEFT_MOUTH,
    LEFT_OUTER_EYE,
    RIGHT_INNER_EYE,
    RIGHT_MOUTH,
    RIGHT_OUTER_EYE,
)
from focus_ray.evaluation.now.findings import Finding
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.evaluation.now.surface import Surface

_NUMBERS_BEHIND_V = re.compile(rb"^[ \t]*v[ \t]+([^#\r\n]*)", re.MULTILINE)
_COLOURED = 6  # x y z r g b
_FLAT = 1e-12  # squared cross product of two sides, relative to the longer side to the 4th; below it is rounding
_PLAIN_ADVICE = "write the mesh without colours (only x y z on each vertex line), or as PLY"


def colour_findings(item: str, path: Path) -> Iterator[Finding]:
    """Yield a finding if an OBJ's vertex lines hold more than a position.

    Many readers take six numbers for position and colour; some take the fourth for a weight and divide by it. For
    any other count, readers disagree on the position.

    Args:
        item: name of the picture.
        path: mesh file.

    Yields:
        A warning for six numbers, an error for another count.
    """
    if path.suffix.lower() != ".obj":
        return
    counts = {len(numbers.split()) for numbers in _NUMBERS_BEHIND_V.findall(path.read_bytes())}
    if counts == {3}:
        return
    if counts == {_COLOURED}:
        what = "vertex lines contain colours: some readers parse them as part of the position"
        yield Finding("warning", item, what, _PLAIN_ADVICE)
    else:
        found = ", ".join(map(str, sorted(counts)))
        yield Finding(
            "error", item, f"vertex lines contain {found} numbers: readers parse them differently", _PLAIN_ADVICE
        )


def triangle_findings(item: str, prediction: SubmittedFace) -> Iterator[Finding]:
    """Yield warnings for triangles without area, and for neighbours that face opposite sides."""
    faces = prediction.mesh.faces
    corners = prediction.mesh.vertices[faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    longest = np.fmax(np.square(a).sum(axis=1), np.square(b).sum(axis=1))
    flat = np.square(np.cross(a, b)).sum(axis=1) <= _FLAT * longest**2
    if flat.any():
        what = (
            f"{int(flat.sum())} triangles have no area: the public evaluation is slow with them or does not terminate"
        )
        yield Finding("warning", item, what, "remove these triangles")
    edges = np.concatenate([faces[~flat][:, [0, 1]], faces[~flat][:, [1, 2]], faces[~flat][:, [2, 0]]])
    again = len(edges) - len(np.unique(edges[:, 0] * len(prediction.mesh.vertices) + edges[:, 1]))
    if again:
        what = f"{again} edges have the same direction in two triangles: neighbouring triangles face opposite sides"
        yield Finding("warning", item, what, "wind all triangles counter-clockwise as seen from outside")


def orientation_findings(item: str, prediction: SubmittedFace, surface: Surface) -> Iterator[Finding]:
    """Yield a warning if the triangles at the landmarks face inwards.

    The metric does not change, since distances have no sign; but the mesh may be mirrored, and viewers show a hole.

    Args:
        item: name of the picture.
        prediction: submitted face, with its landmarks in order.
        surface: surface of its mesh.
    """
    places = surface.nearest(prediction.landmarks)[1]
    if surface.normals(places).mean(axis=0) @ outward_direction(prediction.landmarks) < 0:
        what = "the triangles face inwards, or the mesh is mirrored"
        advice = "wind all triangles counter-clockwise as seen from outside, with x to the subject's left"
        yield Finding("warning", item, what, advice)


def outward_direction(landmarks: Float[np.ndarray, "7 3"]) -> Float[np.ndarray, "3"]:
    """Compute the direction out of the face: the subject's left cross up.

    Args:
        landmarks: seven points in order.

    Returns:
        Direction, not normalised.
    """
    left = landmarks[LEFT_OUTER_EYE] - landmarks[RIGHT_OUTER_EYE]
    up = landmarks[[RIGHT_INNER_EYE, LEFT_INNER_EYE]].mean(axis=0) - landmarks[[RIGHT_MOUTH, LEFT_MOUTH]].mean(axis=0)
    return np.cross(left, up)
