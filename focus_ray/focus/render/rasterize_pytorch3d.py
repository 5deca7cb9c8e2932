"""The optional pytorch3d back end: pytorch3d's z-buffer in our coordinates; interpolation is that of plain torch."""

from importlib import import_module
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.errors import ConfigError
from focus_ray.focus.render.rasterize_torch import interpolate

__all__ = ["draw_fragments", "import_package", "interpolate", "rasterize", "to_ndc"]


def import_package() -> tuple[ModuleType, ModuleType]:
    """Import pytorch3d's meshes and rasterizer.

    Returns:
        The modules `pytorch3d.structures` and `pytorch3d.renderer.mesh.rasterize_meshes`.

    Raises:
        ConfigError: pytorch3d cannot be imported.
    """
    try:
        # the module of the latter name is hidden by its function in the package
        return import_module("pytorch3d.structures"), import_module("pytorch3d.renderer.mesh.rasterize_meshes")
    except ImportError as error:
        raise ConfigError(
            f"the pytorch3d back end cannot be imported ({error}); build it (docs/rasterizers.md), or use 'auto'"
        ) from error


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


def draw_fragments(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, *, cull_back: bool
) -> tuple[Int[Tensor, "B H W 1"], Float[Tensor, "B H W 1 3"]]:
    """Find the nearest triangle of each pixel and the weights of its corners, with pytorch3d.

    Args:
        vertices_screen: (u px, v px, z mm).
        faces: vertex indices of the triangles.
        height: px.
        width: px.
        cull_back: leave out triangles that wind clockwise on the screen.

    Returns:
        Ids, which count the triangles of the whole batch, -1 where there is none; and perspective-correct weights in
        float32, the only type of pytorch3d, differentiable in the positions.

    Raises:
        ConfigError: pytorch3d cannot be imported.
    """
    structures, rasterizer = import_package()
    meshes = structures.Meshes(
        verts=to_ndc(vertices_screen, height, width).float(),
        faces=faces.long().expand(len(vertices_screen), len(faces), 3),
    )
    ids, _, weights, _ = rasterizer.rasterize_meshes(
        meshes,
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=True,
        cull_backfaces=cull_back,
    )
    return ids, weights


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """Rasterize with pytorch3d, as `focus_ray.focus.render.rasterize` specifies; arguments are not checked.

    Differs from the other back ends as pytorch3d does: a centre exactly on an edge is not covered, and triangles of
    less than 1e-8 normalised area are dropped. It computes in float32, so a centre within rounding of an edge may fall
    on its other side.

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
    packed_ids, _ = draw_fragments(vertices_screen, faces, height, width, cull_back=cull_back)
    first_of_image = len(faces) * torch.arange(len(vertices_screen), device=faces.device).view(-1, 1, 1)
    ids = packed_ids[..., 0]
    return torch.where(ids >= 0, ids - first_of_image, ids)
