"""The rasterizer back ends by name: modules with the two functions of Backend (docs/rasterizers.md)."""

from importlib import import_module
from typing import Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.errors import ConfigError

AUTO = "auto"
RasterizerName = Literal["auto", "numba", "torch", "pytorch3d"]

# Imported at first use: a machine with CUDA needs no numba, and pytorch3d is optional.
_MODULES = {
    "numba": "focus_ray.focus.render.rasterize_numba",
    "torch": "focus_ray.focus.render.rasterize_torch",
    "pytorch3d": "focus_ray.focus.render.rasterize_pytorch3d",
}
BACKENDS = (AUTO, *_MODULES)


@runtime_checkable
class Backend(Protocol):
    """Interface of a back end module; arguments are already checked and on one device."""

    def rasterize(
        self,
        vertices_screen: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        height: int,
        width: int,
        cull_back: bool,
    ) -> Int[Tensor, "B H W"]: ...

    def interpolate(
        self,
        vertices_screen: Float[Tensor, "B V 3"],
        attributes: Float[Tensor, "B V D"],
        faces: Int[Tensor, "F 3"],
        ids: Int[Tensor, "B H W"],
    ) -> Float[Tensor, "B D H W"]: ...


def numba_supports(tensor: Tensor) -> bool:
    """Return whether the compiled CPU kernels support a tensor.

    Args:
        tensor: any.

    Returns:
        True for float32 and float64 on the CPU.
    """
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


def resolve_backend(name: str, tensor: Tensor) -> str:
    """Return the name of the back end to use for a tensor.

    Args:
        name: one of `BACKENDS`; "auto" is numba where it supports the tensor, else torch.
        tensor: vertices to work on.

    Returns:
        A name other than "auto".

    Raises:
        ConfigError: the name is unknown, or numba does not support the tensor.
    """
    if name not in BACKENDS:
        raise ConfigError(f"unknown rasterizer back end {name!r}; choose one of {', '.join(BACKENDS)}")
    if name == AUTO:
        return "numba" if numba_supports(tensor) else "torch"
    if name == "numba" and not numba_supports(tensor):
        raise ConfigError(
            f"the numba back end takes float32 or float64 on the CPU, not {tensor.dtype} on {tensor.device}; use torch"
        )
    return name


def load_backend(name: str, tensor: Tensor) -> Backend:
    """Import the back end to use for a tensor.

    Args:
        name: as in `resolve_backend`.
        tensor: vertices to work on.

    Returns:
        The back end module.

    Raises:
        ConfigError: as in `resolve_backend`.
    """
    return cast(Backend, import_module(_MODULES[resolve_backend(name, tensor)]))


def check_installed(name: RasterizerName) -> None:
    """Check that what a back end needs is installed, before it draws anything.

    Args:
        name: a back end's name.

    Raises:
        ConfigError: pytorch3d cannot be imported.
    """
    if name == "pytorch3d":
        import_module(_MODULES[name]).import_package()
