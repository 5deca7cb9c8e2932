"""The NoW error of one prediction: the distances from its subject's scan to the aligned surface (method 8.6)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import Scan
from focus_ray.errors import DataError
from focus_ray.evaluation.now.crop import crop_to_face
from focus_ray.evaluation.now.refinement import refine_alignment
from focus_ray.evaluation.now.similarity import Similarity, procrustes
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.evaluation.now.surface import Surface
from focus_ray.geometry.mesh_reader import TriangleMesh

_MIN_POINTS = 7  # number of unknowns of a similarity


@dataclass(frozen=True, eq=False)
class ScanDistances:
    """Distances from a scan to an aligned prediction.

    Attributes:
        distances: of the scan's vertices in the face sphere, in the scan's order, mm; float32, since those of all
            pictures are kept.
        alignment: of the prediction to the scan.
    """

    distances: Float[np.ndarray, " N"]
    alignment: Similarity

    @property
    def n(self) -> int:
        """Number of vertices."""
        return len(self.distances)


def scan_error(scan: Scan, prediction: SubmittedFace, metrical: bool = False) -> ScanDistances:
    """Compute the error of a prediction: crop, Procrustes by landmarks, refinement on the surface, distances.

    Args:
        scan: scan of the subject.
        prediction: submitted face; for the metrical variant it must be in mm.
        metrical: whether the prediction's scale is kept.

    Raises:
        DataError: fewer than 7 vertices of the scan lie in the face sphere, or the mesh has no triangles.
        LandmarkError: all landmarks are one point.
    """
    face = crop_to_face(np.asarray(scan.vertices, dtype=np.float64), scan.landmarks)
    if len(face) < _MIN_POINTS:
        raise DataError(
            f"only {len(face)} scan vertices lie in the face sphere; check that scan and landmarks belong together"
        )
    coarse = procrustes(prediction.landmarks, scan.landmarks, with_scale=not metrical)
    surface = Surface(TriangleMesh(coarse(prediction.mesh.vertices), prediction.mesh.faces))
    fine = refine_alignment(face, surface, with_scale=not metrical)
    distances = fine.scale * surface.distances(fine.inverse(face))  # move the scan, to keep the tree
    return ScanDistances(distances.astype(np.float32), fine.compose(coarse))
