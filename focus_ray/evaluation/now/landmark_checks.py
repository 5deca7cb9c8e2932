"""Checks of the seven landmarks of a submission: order, units, and distance to the mesh."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import LEFT_OUTER_EYE, RIGHT_OUTER_EYE
from focus_ray.evaluation.now.findings import Finding, Severity
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.evaluation.now.surface import Surface

_MIRROR_ORDER = (3, 2, 1, 0, 4, 6, 5)
# A residual is the RMS distance of the landmarks relative to the scan's RMS spread: about 0.1 between different people,
# 0.3 with left and right swapped. Another order is reported if its residual is at most _IMPROVEMENT_RATIO times that
# of the given order, and the given order's is not below _MAX_GOOD_RESIDUAL.
_MAX_GOOD_RESIDUAL, _IMPROVEMENT_RATIO = 0.04, 0.6
# Largest distance to the surface relative to the outer eye distance; 4.5 mm on a face.
_MAX_SURFACE_DISTANCE = 0.05
# Face sizes differ by about 10 %; a factor of three indicates another unit, or none.
_UNIT_FACTOR = 3.0
_ORDERS = np.array(list(permutations(range(7))))


def order_findings(item: str, landmarks: Float[np.ndarray, "7 3"], scan: Float[np.ndarray, "7 3"]) -> Iterator[Finding]:
    """Yield an error if another order of the landmarks, without a reflection, fits the scan's much better.

    Args:
        item: name of the picture.
        landmarks: submitted landmarks, mm.
        scan: landmarks of the scan, mm.

    Yields:
        At most one finding.
    """
    given = float(_residuals(landmarks[None], scan)[0])
    residuals = _residuals(landmarks[_ORDERS], scan)
    best = int(residuals.argmin())
    if given < _MAX_GOOD_RESIDUAL or residuals[best] > _IMPROVEMENT_RATIO * given:
        return
    mirrored = _residuals(landmarks[None, list(_MIRROR_ORDER)], scan)[0]
    if mirrored <= max(_IMPROVEMENT_RATIO * given, 1.2 * residuals[best]):
        what = "left and right are swapped: the landmarks fit the mirrored landmarks of the scan"
        yield Finding("error", item, what, "use the subject's left and right, or undo the mirroring of the mesh")
        return
    order = ", ".join(str(place) for place in _ORDERS[best])
    what = f"the landmarks are not in the challenge's order: they fit in the order {order}"
    advice = "write right eye outer, inner, left eye inner, outer, nose bottom, mouth right, left"
    yield Finding("error", item, what, advice)


def unit_findings(
    item: str, landmarks: Float[np.ndarray, "7 3"], scan: Float[np.ndarray, "7 3"], metrical: bool
) -> Iterator[Finding]:
    """Yield a finding if the landmarks' size is not the scan's, as for cm or m instead of mm.

    Args:
        item: name of the picture.
        landmarks: submitted landmarks, taken as mm.
        scan: landmarks of the scan, mm.
        metrical: whether the scale is kept: then a wrong unit is an error, else a warning.

    Yields:
        At most one finding.
    """
    factor = np.linalg.norm(scan - scan.mean(axis=0)) / np.linalg.norm(landmarks - landmarks.mean(axis=0))
    if 1 / _UNIT_FACTOR < factor < _UNIT_FACTOR:
        return
    units = {"cm": 10.0, "m": 1000.0}
    likely = [name for name, size in units.items() if size / _UNIT_FACTOR < factor < size * _UNIT_FACTOR]
    guess = f": they seem to be in {likely[0]}" if likely else ""
    severity: Severity = "error" if metrical else "warning"
    what = f"the landmarks must be scaled by {factor:.4g} to fit the scan in mm{guess}"
    yield Finding(severity, item, what, "write mesh and landmarks in mm, or give their unit")


def surface_findings(item: str, prediction: SubmittedFace, surface: Surface) -> Iterator[Finding]:
    """Yield an error for landmarks off the mesh, and a warning for rounded ones."""
    landmarks = prediction.landmarks
    size = float(np.linalg.norm(landmarks[LEFT_OUTER_EYE] - landmarks[RIGHT_OUTER_EYE]))
    distances = surface.distances(landmarks)
    far = [str(place) for place in np.flatnonzero(distances > _MAX_SURFACE_DISTANCE * size)]
    if far:
        what = f"landmarks {', '.join(far)} are up to {distances.max():.3g} mm off the mesh"
        yield Finding("error", item, what, "write the landmarks in the frame and units of the submitted mesh")
    if (landmarks == np.round(landmarks)).all():
        what = "all landmark coordinates are integers: they were rounded"
        yield Finding("warning", item, what, "write them as floating-point numbers")


def _residuals(candidates: Float[np.ndarray, "K 7 3"], scan: Float[np.ndarray, "7 3"]) -> Float[np.ndarray, " K"]:
    """Root mean squares after the best similarity without reflection, as shares of the scan's spread (Umeyama 1991)."""
    a = candidates - candidates.mean(axis=1, keepdims=True)
    b = scan - scan.mean(axis=0)
    products = np.einsum("kni,nj->kij", a, b)
    singular = np.linalg.svd(products, compute_uv=False)
    singular[:, 2] *= np.sign(np.linalg.det(products))
    left = 1 - singular.sum(axis=1) ** 2 / (np.square(a).sum(axis=(1, 2)) * np.square(b).sum())
    return np.sqrt(left.clip(0))
