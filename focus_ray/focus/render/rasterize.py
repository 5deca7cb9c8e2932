"""The two public ops over all back ends: the triangle that each pixel sees, and the values interpolated there."""

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
    """Find the nearest triangle over each pixel centre (no gradient).

    A centre on an edge belongs to the triangle (shared edges leave no hole); at equal depth the lower id wins.
    Triangles with a vertex at z <= 0 or not finite, and degenerate ones, are not drawn.

    Args:
        vertices_screen: (u px, v px, z mm) as `camera.project` returns: pixel centres at integers, origin top-left, v
            down.
        faces: vertex indices of the triangles.
        height: px.
        width: px.
        backend: "auto", or a back end's name.
        cull_back: leave out the triangles that wind clockwise on the screen: those whose (v1 - v0) x (v2 - v0) points
            away from the camera.

    Returns:
        Triangle ids, -1 where there is no triangle.

    Raises:
        TypeError: an argument has the wrong type or device.
        ValueError: an argument has the wrong shape, or an index is out of range.
        ConfigError: the back end is unknown or cannot be used.
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
    """Interpolate vertex attributes perspective-correctly over the triangles of `rasterize`.

    b_i = (e_i / z_i) / sum_j (e_j / z_j) with the edge functions e_i relative to the pixel centre, so that nothing is
    divided by a triangle's area. Differentiable in vertices_screen and attributes; not through visibility.

    Args:
        vertices_screen: (u px, v px, z mm).
        attributes: values of the vertices, in the type of `vertices_screen`.
        faces: vertex indices of the triangles.
        ids: result of `rasterize`.
        backend: "auto", or a back end's name.

    Returns:
        Interpolated attributes, 0 on the background.

    Raises:
        TypeError: an argument has the wrong type or device.
        ValueError: an argument has the wrong shape, or an index is out of range.
        ConfigError: the back end is unknown or cannot be used.
    """
    check_mesh(vertices_screen, faces)
    check_attributes(attributes, vertices_screen)
    check_ids(ids, vertices_screen, faces)
    return load_backend(backend, vertices_screen).interpolate(vertices_screen, attributes, faces, ids)
