"""Exact nearest points on a triangle mesh: a balanced tree of boxes over the triangles."""

import math

import numpy as np
from jaxtyping import Float, Int

from focus_ray.errors import DataError
from focus_ray.evaluation.now.surface_numba import nearest_points
from focus_ray.geometry.mesh_reader import TriangleMesh

# A leaf has this many to twice as many triangles; larger leaves are slower for a face of 55,000 triangles.
_MIN_LEAF_SIZE = 2
# A triangle is searched by its sides only if its determinant, relative to the product of the squared lengths of two
# sides, is below this.
_FLAT = 1e-12


class Surface:
    """Triangle mesh with a tree for searches of nearest points.

    Triangles without area count as segments or points. Vertices without triangles do not count.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        """Build the tree.

        Args:
            mesh: mesh to search.

        Raises:
            DataError: the mesh has no triangles.
        """
        if not len(mesh.faces):
            raise DataError("the mesh has no triangles; write a surface, not a point cloud")
        corners = np.ascontiguousarray(mesh.vertices, dtype=np.float64)[mesh.faces]  # [F, 3, 3]
        depth = max(0, int(math.log2(len(corners) / _MIN_LEAF_SIZE)))
        self.order = _tree_order(corners.mean(axis=1), depth)
        """Indices of the triangles in the order of the tree; some occur twice, to fill the leaves."""
        self._leaf_size = len(self.order) >> depth
        self._triangles = _precompute_triangles(corners[self.order])
        self._boxes = _build_boxes(corners[self.order], depth)

    def nearest(
        self, points: Float[np.ndarray, "N 3"], places: Int[np.ndarray, " N"] | None = None
    ) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, " N"]]:
        """Find the nearest point of the surface to each point.

        Args:
            points: points in the mesh's frame and units.
            places: places of an earlier search nearby: the search is much shorter and finds the same.

        Returns:
            (nearest points; places in `order` of their triangles).
        """
        closest, found = np.empty((len(points), 3)), np.zeros(len(points), dtype=np.int64)
        if places is not None:
            found[:] = places
        points = np.ascontiguousarray(points, dtype=np.float64)
        nearest_points(self._boxes, self._triangles, self._leaf_size, points, closest, found)
        return closest, found

    def distances(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
        """Compute the distances of points to the surface.

        Args:
            points: points in the mesh's frame and units.

        Returns:
            Distances in the mesh's units.
        """
        return np.linalg.norm(points - self.nearest(points)[0], axis=1)

    def normals(self, places: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 3"]:
        """Compute the normals of triangles.

        Args:
            places: places of the triangles in `order`.

        Returns:
            Unit normals; 0 for triangles without area.
        """
        sides = self._triangles[places, 3:9].reshape(-1, 2, 3)
        normals = np.cross(sides[:, 0], sides[:, 1])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)


def _tree_order(centres: Float[np.ndarray, "F 3"], depth: int) -> Int[np.ndarray, " L"]:
    """Triangles in an order whose halves, quarters, ... 2^depth-ths are each cut across their longest side."""
    in_leaf = -(-len(centres) >> depth)  # rounded up
    order = np.minimum(np.arange(in_leaf << depth), len(centres) - 1)
    for level in range(depth):
        nodes = order.reshape(1 << level, -1)
        positions = centres[nodes]  # [nodes, triangles, 3]
        longest = np.ptp(positions, axis=1).argmax(axis=1)
        along = np.take_along_axis(positions, longest[:, None, None], axis=2)[..., 0]
        halves = np.argpartition(along, nodes.shape[1] // 2, axis=1)
        order = np.take_along_axis(nodes, halves, axis=1).reshape(-1)
    return order


def _build_boxes(corners: Float[np.ndarray, "L 3 3"], depth: int) -> Float[np.ndarray, "nodes 6"]:
    """Boxes of the tree, least and greatest x, y, z: node n has the children 2n and 2n + 1, the root is 1."""
    leaves = corners.reshape(1 << depth, -1, 3)
    levels = [np.concatenate([leaves.min(axis=1), leaves.max(axis=1)], axis=1)]
    while len(levels[-1]) > 1:
        pairs = levels[-1].reshape(-1, 2, 6)
        levels.append(np.concatenate([pairs[..., :3].min(axis=1), pairs[..., 3:].max(axis=1)], axis=1))
    return np.ascontiguousarray(np.concatenate([np.zeros((1, 6)), *levels[::-1]]))


def _precompute_triangles(corners: Float[np.ndarray, "L 3 3"]) -> Float[np.ndarray, "L 16"]:
    """a, b - a, c - a; the Gram matrix of the sides and 1 / its determinant; 1 / squared length of each side."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    bc = ac - ab
    bb, bc_product, cc = (np.einsum("ni,ni->n", one, other) for one, other in ((ab, ab), (ab, ac), (ac, ac)))
    lengths = np.stack([bb, cc, np.einsum("ni,ni->n", bc, bc)], axis=1)
    determinant = bb * cc - bc_product**2
    flat = ~(determinant > _FLAT * bb * cc)
    inverse = np.where(flat, 0.0, 1 / np.where(flat, 1.0, determinant))
    return np.ascontiguousarray(
        np.column_stack(
            [a, ab, ac, bb, bc_product, cc, inverse, np.where(lengths > 0, 1 / np.fmax(lengths, 1e-300), 0)]
        )
    )
