"""The optional pytorch3d back end: pytorch3d's z-buffer in our coordinates; interpolation is that of plain torch."""

from importlib import import_module

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.errors import ConfigError
from focus_ray.focus.render.rasterize_torch import interpolate

__all__ = ["interpolate", "rasterize", "to_ndc"]


def to_ndc(vertices_screen: Float[Tensor, "B V 3"], height: int, width: int) -> Float[Tensor, "B V 3"]:
    """Convert screen coordinates to pytorch3d's normalised ones: x left, y up, the shorter side spans [-1, 1].

    There the centre of pixel i of n lies at (n - 1 - 2 i) / min(height, width): half a pixel from the border.

    Args:
        vertices_screen: (u px, v px, z mm).
        height: px.
        width: px.

    Returns:
        (x, y, z mm).
    """
    size = vertices_screen.new_tensor((width - 1, height - 1))
    ndc = (size - 2 * vertices_screen[..., :2]) / min(height, width)
    return torch.cat((ndc, vertices_screen[..., 2:]), dim=-1)


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """Rasterize with pytorch3d, as `focus_ray.focus.render.rasterize` specifies; arguments are not checked.

    Differs from the other back ends as pytorch3d does: a centre exactly on an edge is not covered, and triangles of
    less than 1e-8 normalised area are dropped.

    Args:
        vertices_screen: (u px, v px, z mm).
        faces: vertex indices of the triangles.
        height: px.
        width: px.
        cull_back: leave out triangles that wind clockwise on the screen.

    Returns:
        Id of the nearest triangle in each pixel, -1 where there is none.

    Raises:
        ConfigError: pytorch3d cannot be imported.
    """
    try:
        structures = import_module("pytorch3d.structures")
        rasterizer = import_module("pytorch3d.renderer.mesh.rasterize_meshes")
    except ImportError as error:
        raise ConfigError(
            f"the pytorch3d back end cannot be imported ({error}); build it (docs/rasterizers.md), or use 'auto'"
        ) from error
    batch, n_faces = len(vertices_screen), len(faces)
    meshes = structures.Meshes(
        verts=to_ndc(vertices_screen, height, width), faces=faces.long().expand(batch, n_faces, 3)
    )
    packed_ids, *_ = rasterizer.rasterize_meshes(
        meshes,
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=True,
        cull_backfaces=cull_back,
    )
    # pytorch3d counts faces through the whole batch
    first_of_image = n_faces * torch.arange(batch, device=faces.device).view(-1, 1, 1)
    ids = packed_ids[..., 0]
    return torch.where(ids >= 0, ids - first_of_image, ids)
