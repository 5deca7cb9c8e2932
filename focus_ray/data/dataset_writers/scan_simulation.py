"""Simulated 3D scan of a face: other points on its surface, noise, holes, and a coordinate frame of its own."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from focus_ray.geometry.mesh_reader import TriangleMesh

NOISE_MM = 0.1
"""Standard deviation of each coordinate. Chosen here: structured-light face scanners are accurate to 0.2 mm."""

# Points of a scanner are evenly spaced; those of a model are dense at eyes and lips, which would weigh more.
_EDGE_MM = 4.0
_HOLES = 6
_HOLE_MM = (3.0, 9.0)  # radius
_ORIGIN_STD_MM = 200.0  # standard deviation of the frame's origin from the face


@dataclass(frozen=True, eq=False)
class Frame:
    """Frame of the scanner: scanned = rotation @ point + translation, in mm."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]

    @staticmethod
    def random(rng: Generator) -> "Frame":
        """Draw a frame with a uniform rotation and a normal offset of its origin."""
        return Frame(Rotation.random(None, rng).as_matrix(), rng.normal(0, _ORIGIN_STD_MM, 3))

    def to_scanner(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Transform points of the model frame to the scanner's frame.

        Args:
            points: model frame, mm.

        Returns:
            Scanner's frame, mm.
        """
        return points @ self.rotation.T + self.translation


def simulate_scan(rng: Generator, face: TriangleMesh) -> TriangleMesh:
    """Simulate a scan of a face, in the face's own frame: other vertices, all of them on its surface within noise.

    Args:
        rng: random generator.
        face: mesh of the face, mm.

    Returns:
        The scan, mm.
    """
    resampled = _resample(rng, face)
    cut = _cut_holes(rng, resampled)
    return TriangleMesh(cut.vertices + rng.normal(0, NOISE_MM, cut.vertices.shape), cut.faces)


def _resample(rng: Generator, face: TriangleMesh) -> TriangleMesh:
    """Divide large triangles, then move every vertex to a place within a triangle that it belongs to.

    Inside a triangle every point is on the surface.
    """
    vertices, faces, *_ = trimesh.remesh.subdivide_to_size(face.vertices, face.faces, max_edge=_EDGE_MM)
    owner = np.empty(len(vertices), dtype=np.int64)
    order = rng.permutation(len(faces))
    owner[faces[order].reshape(-1)] = np.repeat(order, 3)
    others = faces[owner]
    own = others == np.arange(len(vertices))[:, None]
    # The vertex's own corner keeps at least half of the weight, so that no triangle flips.
    weights = 0.5 * rng.dirichlet(np.ones(3), len(vertices)) + 0.5 * own
    return TriangleMesh(np.einsum("vk,vkc->vc", weights, vertices[others]), np.asarray(faces, dtype=np.int64))


def _cut_holes(rng: Generator, face: TriangleMesh) -> TriangleMesh:
    centres = face.vertices[rng.integers(len(face.vertices), size=_HOLES)]
    radii = rng.uniform(*_HOLE_MM, size=_HOLES)
    distances = np.linalg.norm(face.vertices[:, None] - centres, axis=2)
    kept = (distances > radii).all(axis=1)
    faces = face.faces[kept[face.faces].all(axis=1)]
    used, numbered = np.unique(faces, return_inverse=True)  # points without a triangle are dropped
    return TriangleMesh(face.vertices[used], numbered.reshape(faces.shape))
