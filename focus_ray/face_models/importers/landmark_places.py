"""The 68 landmarks of a face model on its whole mesh, and on what is kept of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from focus_ray.face_models.importers.mesh_region import Region, nearest_weights, whole
from focus_ray.face_models.landmarks import N_LANDMARKS

_NEAREST_VERTICES = 6


@dataclass(frozen=True, eq=False)
class LandmarkPlaces:
    """Landmarks as weighted means of vertices.

    Attributes:
        corners: three vertices of each landmark.
        weights: of the vertices, with sum 1.
    """

    corners: Int[np.ndarray, "68 3"]
    weights: Float[np.ndarray, "68 3"]

    @staticmethod
    def at_vertices(vertices: Int[np.ndarray, "68"]) -> "LandmarkPlaces":
        """Return landmarks at vertices."""
        return LandmarkPlaces(np.repeat(vertices[:, None], 3, axis=1), np.repeat([[1.0, 0, 0]], N_LANDMARKS, axis=0))

    @staticmethod
    def near_points(
        points: Float[np.ndarray, "68 3"], vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
    ) -> "LandmarkPlaces":
        """Return the places on a mesh that are nearest to points."""
        nowhere = LandmarkPlaces.at_vertices(np.full(N_LANDMARKS, -1))
        triangles, weights = nowhere._place(points, vertices, whole(faces, len(vertices)), np.ones(len(faces), bool))
        return LandmarkPlaces(faces[triangles], weights)

    def points(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "68 3"]:
        """Return the landmarks of a mesh, in the unit of its vertices."""
        return np.einsum("lk,lkd->ld", self.weights, vertices[self.corners])

    def on(
        self, vertices: Float[np.ndarray, "V 3"], region: Region, usable: Bool[np.ndarray, " F"] | None = None
    ) -> tuple[Int[np.ndarray, "68"], Float[np.ndarray, "68 3"], Float[np.ndarray, "68"]]:
        """Express the landmarks by triangles of a region.

        A landmark stays on triangles with as many of its own vertices as there are: lips that touch are not confused.
        Without any, it moves to the nearest place on the region.

        Args:
            vertices: of the whole mesh, mm.
            region: what is kept of it.
            usable: triangles of the region that can have landmarks; None: all.

        Returns:
            Triangle and weights of each landmark, and by how much it had to move, mm.
        """
        points = self.points(vertices)
        usable = np.ones(len(region.faces), bool) if usable is None else usable
        triangles, weights = self._place(points, vertices, region, usable)
        placed = np.einsum("lk,lkd->ld", weights, vertices[region.vertices][region.faces[triangles]])
        return triangles, weights, np.linalg.norm(placed - points, axis=1)

    def _place(
        self,
        points: Float[np.ndarray, "68 3"],
        vertices: Float[np.ndarray, "V 3"],
        region: Region,
        usable: Bool[np.ndarray, " F"],
    ) -> tuple[Int[np.ndarray, "68"], Float[np.ndarray, "68 3"]]:
        numbers = np.flatnonzero(usable)
        faces = region.vertices[region.faces[numbers]]  # by the vertices of the whole mesh
        used = np.unique(faces)
        near = used[
            KDTree(vertices[used]).query(points, k=min(_NEAREST_VERTICES, len(used)))[1].reshape(len(points), -1)
        ]
        triangles, weights = np.zeros(N_LANDMARKS, np.int64), np.zeros((N_LANDMARKS, 3))
        for landmark, point in enumerate(points):
            own = self.corners[landmark][np.abs(self.weights[landmark]) > 1e-9]
            shared = np.isin(faces, own).sum(axis=1)
            if not shared.any():
                shared = np.isin(faces, near[landmark]).any(axis=1)
            candidates = np.flatnonzero(shared == shared.max())
            corners = vertices[faces[candidates]].astype(np.float64)
            possible = nearest_weights(point, corners)
            best = np.linalg.norm(np.einsum("fk,fkd->fd", possible, corners) - point, axis=1).argmin()
            triangles[landmark], weights[landmark] = numbers[candidates[best]], possible[best]
        return triangles, weights
