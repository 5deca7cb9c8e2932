"""Which triangle each pixel sees, and what it interpolates there: the two public ops over all back ends."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.focus.render.backends import AUTO, load

BACKGROUND = -1


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
    _check_mesh(vertices_screen, faces)
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} px cannot be drawn; give a positive height and width")
    with torch.no_grad():
        return load(backend, vertices_screen).rasterize(vertices_screen, faces, height, width, cull_back)


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
    _check_mesh(vertices_screen, faces)
    batch, n_vertices, _ = vertices_screen.shape
    if attributes.ndim != 3 or attributes.shape[:2] != (batch, n_vertices):
        raise ValueError(f"attributes are {list(attributes.shape)}; give [{batch}, {n_vertices}, D] like the vertices")
    if attributes.dtype != vertices_screen.dtype or attributes.device != vertices_screen.device:
        raise TypeError("attributes and vertices differ in type or device; convert one of them")
    _check_ids(ids, batch, len(faces), vertices_screen.device)
    return load(backend, vertices_screen).interpolate(vertices_screen, attributes, faces, ids)


def _check_mesh(vertices_screen: Tensor, faces: Tensor) -> None:
    if vertices_screen.ndim != 3 or vertices_screen.shape[2] != 3:
        raise ValueError(f"vertices are {list(vertices_screen.shape)}; give [B, V, 3] with (u, v, z) in the last axis")
    if not vertices_screen.is_floating_point():
        raise TypeError(f"vertices are {vertices_screen.dtype}; give floating-point numbers")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces are {list(faces.shape)}; give [F, 3]")
    _check_indices("faces", faces, 0, vertices_screen.shape[1], vertices_screen.device)


def _check_ids(ids: Tensor, batch: int, n_faces: int, device: torch.device) -> None:
    if ids.ndim != 3 or len(ids) != batch:
        raise ValueError(f"ids are {list(ids.shape)}; give [{batch}, H, W] as rasterize returns them")
    _check_indices("ids", ids, BACKGROUND, n_faces, device)


def _check_indices(name: str, indices: Tensor, low: int, high: int, device: torch.device) -> None:
    if indices.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} are {indices.dtype}; give int64")
    if indices.device != device:
        raise TypeError(f"{name} are on {indices.device} and the vertices on {device}; move one of them")
    # The kernels trust their indices. On an accelerator the look would stall the queue, and its indexing checks itself.
    if device.type == "cpu" and indices.numel() > 0:
        least, most = (int(bound) for bound in torch.aminmax(indices))
        if least < low or most >= high:
            raise ValueError(f"{name} hold indices in {least}..{most}, outside {low}..{high - 1}; use the mesh's own")
