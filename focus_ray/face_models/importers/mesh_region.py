"""Parts of a mesh: what is kept of it, its connected components, and the points of triangles nearest to given ones."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from focus_ray.errors import FaceModelError


@dataclass(frozen=True, eq=False)
class Region:
    """The kept part of a mesh.

    Attributes:
        vertices: numbers of the kept vertices in the whole mesh.
        faces: triangles of the part, by its own numbers.
    """

    vertices: Int[np.ndarray, " K"]
    faces: Int[np.ndarray, "F 3"]


def whole(faces: Int[np.ndarray, "F 3"], n_vertices: int) -> Region:
    """Return a mesh as a region."""
    return Region(np.arange(n_vertices), faces)


def keep_region(faces: Int[np.ndarray, "G 3"], keep: Bool[np.ndarray, " V"]) -> Region:
    """Keep the triangles with all corners in a mask, and the vertices that they use.

    Raises:
        FaceModelError: no triangle is left.
    """
    kept = faces[keep[faces].all(axis=1)]
    if not len(kept):
        raise FaceModelError("the kept part of the face model has no triangle; import it whole")
    vertices, renumbered = np.unique(kept, return_inverse=True)
    return Region(vertices, renumbered.reshape(kept.shape).astype(np.int64))


def component_of_each_vertex(faces: Int[np.ndarray, "F 3"], n_vertices: int) -> Int[np.ndarray, " V"]:
    """Number the connected components of a mesh, the one with most vertices first."""
    ends = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    graph = coo_array((np.ones(ends.shape[1], bool), tuple(ends)), shape=(n_vertices, n_vertices))
    label = connected_components(graph, directed=False)[1]
    order = np.argsort(-np.bincount(label), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[label]


def nearest_weights(point: Float[np.ndarray, "3"], corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "F 3"]:
    """Return the barycentric weights of the point of each triangle that is nearest to a point."""
    weights = np.zeros((len(corners), 3))
    shortest = np.full(len(corners), np.inf)
    for one in range(3):  # the nearest points of the three edges
        other = (one + 1) % 3
        edge = corners[:, other] - corners[:, one]
        share = ((point - corners[:, one]) * edge).sum(axis=1) / np.maximum((edge**2).sum(axis=1), 1e-12)
        share = np.clip(share, 0, 1)
        distance = np.linalg.norm(corners[:, one] + share[:, None] * edge - point, axis=1)
        nearer = distance < shortest
        shortest[nearer] = distance[nearer]
        weights[nearer] = 0
        weights[nearer, one], weights[nearer, other] = 1 - share[nearer], share[nearer]
    first, second, out = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], point - corners[:, 0]
    normal = np.cross(first, second)
    area = np.maximum((normal**2).sum(axis=1), 1e-12)
    u = (np.cross(out, second) * normal).sum(axis=1) / area
    v = (np.cross(first, out) * normal).sum(axis=1) / area
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    weights[inside] = np.column_stack([1 - u - v, u, v])[inside]
    return weights
