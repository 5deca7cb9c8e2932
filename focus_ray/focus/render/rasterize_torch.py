"""The torch back end: the rasterizer in plain tensor ops, on any device that has float64; the reference of the tests.

Every (triangle, pixel centre in its box) pair is a candidate; candidates are enumerated in chunks, so that memory is
bounded for triangles of any size.
"""

from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CANDIDATES_PER_CHUNK = 1 << 20


class _Boxes(NamedTuple):
    """Pixel boxes of the triangles of all images, flat over [B * F]; size 0 where there is nothing to draw."""

    left: Int[Tensor, " N"]
    top: Int[Tensor, " N"]
    width: Int[Tensor, " N"]
    size: Int[Tensor, " N"]


def rasterize(
    vertices_screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull_back: bool
) -> Int[Tensor, "B H W"]:
    """Rasterize with tensor ops, as `focus_ray.focus.render.rasterize` specifies; arguments are not checked.

    Arithmetic in double, as in the numba back end.

    Args:
        vertices_screen: (u px, v px, z mm).
        faces: vertex indices of the triangles.
        height: px.
        width: px.
        cull_back: leave out triangles that wind clockwise on the screen.

    Returns:
        Id of the nearest triangle in each pixel, -1 where there is none.
    """
    batch, n_faces = len(vertices_screen), len(faces)
    corners = vertices_screen.double()[:, faces.long()].reshape(batch * n_faces, 3, 3)
    boxes = _bounding_boxes(corners, height, width)
    ends = boxes.size.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    nearest = corners.new_zeros(batch * height * width)
    ids = torch.full_like(nearest, -1, dtype=torch.int64)
    for start in range(0, total, CANDIDATES_PER_CHUNK):
        candidate = torch.arange(start, min(start + CANDIDATES_PER_CHUNK, total), device=faces.device)
        triangle = torch.searchsorted(ends, candidate, right=True)
        local = candidate - (ends - boxes.size)[triangle]
        x = boxes.left[triangle] + local % boxes.width[triangle]
        y = boxes.top[triangle] + local // boxes.width[triangle]
        inside, inverse_depth = _cover(corners[triangle], x, y, cull_back)
        image, face = triangle // n_faces, triangle % n_faces
        pixel = (image * height + y) * width + x
        _keep_nearest(nearest, ids, pixel[inside], inverse_depth[inside], face[inside], n_faces)
    return ids.view(batch, height, width)


def interpolate(
    vertices_screen: Float[Tensor, "B V 3"],
    attributes: Float[Tensor, "B V D"],
    faces: Int[Tensor, "F 3"],
    ids: Int[Tensor, "B H W"],
) -> Float[Tensor, "B D H W"]:
    """Interpolate with tensor ops, as `focus_ray.focus.render.interpolate` specifies; arguments are not checked.

    Gradients are torch's own, through double. The backward computes the weights again: storing them would take several
    hundred bytes per drawn pixel.

    Args:
        vertices_screen: (u px, v px, z mm).
        attributes: values of the vertices.
        faces: vertex indices of the triangles.
        ids: triangle of each pixel, -1 for none.

    Returns:
        Interpolated attributes, 0 on the background.
    """
    blended = checkpoint(_blend, vertices_screen, attributes, faces, ids, use_reentrant=False, preserve_rng_state=False)
    return cast(Tensor, blended)


def _blend(vertices_screen: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
    """Perspective-correct mean of the corners' attributes: b_i = (e_i / z_i) / sum_j (e_j / z_j)."""
    batch, height, width = ids.shape
    image, y, x = (ids >= 0).nonzero(as_tuple=True)
    corners_of_pixel = faces.long()[ids[image, y, x].long()]
    corners = vertices_screen[image[:, None], corners_of_pixel].double()
    edges = _edge_functions(corners[..., 0] - x[:, None], corners[..., 1] - y[:, None])
    weights = edges / corners[..., 2]
    total = weights.sum(dim=1, keepdim=True)
    usable = total.isfinite() & (total != 0)
    barycentric = torch.where(usable, weights, 0) / torch.where(usable, total, 1)
    values = (barycentric[..., None] * attributes[image[:, None], corners_of_pixel]).sum(dim=1)
    canvas = attributes.new_zeros(batch, height, width, attributes.shape[2])
    return canvas.index_put((image, y, x), values.to(canvas.dtype)).permute(0, 3, 1, 2).contiguous()


def _bounding_boxes(corners: Float[Tensor, "N 3 3"], height: int, width: int) -> _Boxes:
    finite = corners.isfinite().all(dim=2).all(dim=1)
    drawable = finite & (corners[..., 2] > 0).all(dim=1)
    u, v = torch.where(drawable[:, None, None], corners, -1)[..., :2].unbind(2)
    left, right = _pixel_range(u, width)
    top, bottom = _pixel_range(v, height)
    columns, rows = (right - left + 1).clamp_min(0), (bottom - top + 1).clamp_min(0)
    return _Boxes(left, top, columns, columns * rows)


def _pixel_range(coordinate: Float[Tensor, "N 3"], size: int) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """First and last pixel centre between the least and the largest coordinate, inside the image."""
    first = coordinate.amin(dim=1).clamp(0, size).ceil().long()
    last = coordinate.amax(dim=1).clamp(-1, size - 1).floor().long()
    return first, last


def _edge_functions(x: Float[Tensor, "N 3"], y: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Twice the signed areas that the pixel spans with each side: exactly antisymmetric in the side's ends."""
    next_x, next_y = x.roll(-1, 1), y.roll(-1, 1)
    opposite = x * next_y - y * next_x  # sides 01, 12, 20
    return opposite.roll(-1, 1)  # e0 belongs to side 12, e1 to 20, e2 to 01


def _cover(
    corners: Float[Tensor, "N 3 3"], x: Int[Tensor, " N"], y: Int[Tensor, " N"], cull_back: bool
) -> tuple[Bool[Tensor, " N"], Float[Tensor, " N"]]:
    """Whether each candidate's triangle covers its pixel centre, and the inverse depth there."""
    edges = _edge_functions(corners[..., 0] - x[:, None], corners[..., 1] - y[:, None])
    e0, e1, e2 = edges.unbind(1)
    z0, z1, z2 = corners[..., 2].unbind(1)
    area = e0 + e1 + e2
    inside = (edges <= 0).all(dim=1)
    if not cull_back:
        inside = inside | (edges >= 0).all(dim=1)
    inside = inside & (area != 0)
    # same order of operations as in the numba kernel: equal bits decide ties equally
    return inside, (e0 * (z1 * z2) + e1 * (z2 * z0) + e2 * (z0 * z1)) / (area * (z0 * z1 * z2))


def _keep_nearest(
    nearest: Float[Tensor, " P"],
    ids: Int[Tensor, " P"],
    pixel: Int[Tensor, " N"],
    inverse_depth: Float[Tensor, " N"],
    face: Int[Tensor, " N"],
    n_faces: int,
) -> None:
    """Merge candidates into the z-buffer in place; order-free: largest inverse depth, then lowest face.

    Chunks arrive in ascending order of face within an image, so an equal depth never displaces an earlier chunk.
    """
    before = nearest.clone()
    nearest.scatter_reduce_(0, pixel, inverse_depth, "amax")
    wins = (inverse_depth == nearest[pixel]) & (inverse_depth > before[pixel])
    pixel, face = pixel[wins], face[wins]
    ids[pixel] = n_faces
    ids.scatter_reduce_(0, pixel, face, "amin")
