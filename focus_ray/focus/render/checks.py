"""Argument checks of the renderer's public ops; each message names the given and the expected shape or type."""

import torch
from torch import Tensor

BACKGROUND = -1
"""The id of a pixel that no triangle covers."""


def check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Check vertices and the faces that index them.

    Args:
        vertices: should be [B, V, 3], floating-point.
        faces: should be [F, 3], int32 or int64, in 0..V - 1, on the device of the vertices.

    Raises:
        TypeError: wrong type or device.
        ValueError: wrong shape or index.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"vertices have shape {list(vertices.shape)}; give [B, V, 3]")
    if not vertices.is_floating_point():
        raise TypeError(f"vertices have type {vertices.dtype}; give floating-point numbers")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces have shape {list(faces.shape)}; give [F, 3]")
    _check_indices("faces", faces, 0, vertices.shape[1], vertices.device)


def check_attributes(attributes: Tensor, vertices: Tensor) -> None:
    """Check the attributes of vertices.

    Args:
        attributes: should be [B, V, D], of the type and device of the vertices.
        vertices: [B, V, 3].

    Raises:
        TypeError: wrong type or device.
        ValueError: wrong shape.
    """
    batch, n_vertices, _ = vertices.shape
    if attributes.ndim != 3 or attributes.shape[:2] != (batch, n_vertices):
        raise ValueError(
            f"attributes have shape {list(attributes.shape)}; give [{batch}, {n_vertices}, D] like the vertices"
        )
    if attributes.dtype != vertices.dtype or attributes.device != vertices.device:
        raise TypeError("attributes and vertices differ in type or device; convert one of them")


def check_ids(ids: Tensor, vertices: Tensor, faces: Tensor) -> None:
    """Check triangle ids.

    Args:
        ids: should be [B, H, W], int32 or int64, in 0..F - 1 or BACKGROUND, on the device of the vertices.
        vertices: [B, V, 3].
        faces: [F, 3].

    Raises:
        TypeError: wrong type or device.
        ValueError: wrong shape or index.
    """
    if ids.ndim != 3 or len(ids) != len(vertices):
        raise ValueError(f"ids have shape {list(ids.shape)}; give [{len(vertices)}, H, W] as rasterize returns them")
    _check_indices("ids", ids, BACKGROUND, len(faces), vertices.device)


def _check_indices(name: str, indices: Tensor, low: int, high: int, device: torch.device) -> None:
    if indices.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} have type {indices.dtype}; give int64")
    if indices.device != device:
        raise TypeError(f"{name} are on {indices.device} and the vertices on {device}; move one of them")
    # The kernels do not check indices. On an accelerator this check would stall the queue; indexing is checked there.
    if device.type == "cpu" and indices.numel() > 0:
        values = indices.numpy()  # one numpy thread: torch's threads would keep spinning and slow the next kernels
        least, most = values.min(), values.max()
        if least < low or most >= high:
            raise ValueError(
                f"{name} have indices in {least}..{most}, outside {low}..{high - 1}; use those of the mesh"
            )
