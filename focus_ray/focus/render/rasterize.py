"""Which triangle each pixel sees, and what it interpolates there: the two public ops over all back ends."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.focus.render.backends import AUTO, load_backend
from focus_ray.focus.render.checks import BACKGROUND, check_attributes, check_ids, check_mesh

__all__ = ["BACKGROUND", "interpolate", "rasterize"]


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    height: int,
    width: int,
    *,
    backend: str = AUTO,
    cull_back: bool = False,
) -> Int[Tensor, "B H W"]:
    """The id of the nearest triangle over each pixel centre, -1 where there is none (no gradient).

    vertices_screen holds (u px, v px, z mm) as `camera.project` gives it: pixel centres at integers, origin top-left,
    v down. A centre on an edge belongs to the triangle (shared edges leave no hole); at equal depth the lower id wins.
    Triangles with a vertex at z <= 0 or not finite, and degenerate ones, are not drawn. cull_back leaves out the
    triangles that wind clockwise on the screen: those whose (v1 - v0) x (v2 - v0) points away from the camera.

    Raises TypeError or ValueError for arguments of another shape or kind, ConfigError for an unusable back end.
    """
    check_mesh(vertices_screen, faces)
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} px cannot be drawn; give a positive height and width")
    with torch.no_grad():
        return load_backend(backend, vertices_screen).rasterize(vertices_screen, faces, height, width, cull_back)


def interpolate(
    vertices_screen: Float[Tensor, "B V 3"],
    attributes: Float[Tensor, "B V D"],
    faces: Int[Tensor, "F 3"],
    ids: Int[Tensor, "B H W"],
    *,
    backend: str = AUTO,
) -> Float[Tensor, "B D H W"]:
    """Vertex attributes interpolated perspective-correctly over the triangles of `rasterize`; 0 on the background.

    b_i = (e_i / z_i) / sum_j (e_j / z_j) with the edge functions e_i relative to the pixel centre, so that no
    triangle's area is divided by. Differentiable in vertices_screen and attributes; not through visibility.

    Raises TypeError or ValueError for arguments of another shape or kind, ConfigError for an unusable back end.
    """
    check_mesh(vertices_screen, faces)
    check_attributes(attributes, vertices_screen)
    check_ids(ids, vertices_screen, faces)
    return load_backend(backend, vertices_screen).interpolate(vertices_screen, attributes, faces, ids)
