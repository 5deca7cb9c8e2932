"""Vertex normals: the unit direction of the area-weighted sum of the normals of the triangles around a vertex."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.focus.render.checks import check_mesh

# Squared length (mm^4) under which a sum of normals has no direction: the normal is 0 there, and so is its gradient.
MIN_SQUARED_NORM = 1e-24


def vertex_normals(vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B V 3"]:
    """Compute unit normals, n_v = unit(sum over the triangles around v of (v1 - v0) x (v2 - v0)); differentiable.

    The length of the cross product is twice the triangle's area, so the sum is weighted by area. The released code
    divides by the sum of the areas instead of normalising; spherical harmonics are defined for unit vectors.

    Args:
        vertices: mm.
        faces: vertex indices of the triangles.

    Returns:
        Unit normals; 0 for a vertex without a triangle, or with degenerate ones only.

    Raises:
        TypeError: an argument has the wrong type or device.
        ValueError: an argument has the wrong shape, or an index is out of range.
    """
    check_mesh(vertices, faces)
    faces = faces.long()
    v0, v1, v2 = vertices[:, faces].unbind(2)
    weighted = torch.linalg.cross(v1 - v0, v2 - v0)
    total = torch.zeros_like(vertices).index_add(1, faces.T.reshape(-1), weighted.repeat(1, 3, 1))
    squared = total.square().sum(dim=-1, keepdim=True)
    has_direction = squared > MIN_SQUARED_NORM
    return torch.where(has_direction, total, 0) / torch.where(has_direction, squared, 1).sqrt()
