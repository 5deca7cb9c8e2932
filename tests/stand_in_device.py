"""A device that is not there: tensors that say they are on "cuda:0", and refuse what torch refuses of CUDA tensors.

Their values stay in the CPU's memory, and their gradients are computed there. An operation on tensors of both devices
raises RuntimeError, as does reading one through NumPy (TypeError). What torch lets mix may mix: single numbers, and
indices on the CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)
_CROSS_DEVICE_OPS = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_INDEX_OPS = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten._index_put_impl_.default}


class FakeCudaTensor(Tensor):
    """A tensor on the device. torch's own C++ takes it for one on the CPU: it asks a real device for its state."""

    cpu_tensor: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "FakeCudaTensor":
        made = Tensor._make_wrapper_subclass(
            cls, values.shape, values.stride(), values.storage_offset(), dtype=values.dtype
        )
        made.cpu_tensor = values
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return DEVICE
        if func == Tensor.numpy:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy; use Tensor.cpu() first")
        if func == Tensor.tolist:
            return args[0].cpu_tensor.tolist()
        if func == Tensor.cpu:
            return _move(args[0], "cpu")
        if func == Tensor.to:
            return _move(*args, **kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        return FakeCudaTensor(result) if func == Tensor.new_tensor else result

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class _FakeDeviceMode(TorchDispatchMode):
    """Catches what makes a tensor on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


@contextmanager
def fake_cuda_device() -> Iterator[None]:
    """Within, `.to("cuda:0")` gives tensors on the device."""
    parameters = mock.patch("torch.__future__.get_overwrite_module_params_on_conversion", return_value=True)
    with mock.patch("torch.cuda._lazy_init"), parameters, _FakeDeviceMode():
        yield


def _move(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`tensor.to(...)` where one of the tensors is remote. Across devices there is no gradient."""
    device, dtype = tensor.device, tensor.dtype
    for one in (*args, *kwargs.values()):
        if isinstance(one, Tensor):
            device, dtype = one.device, one.dtype
        elif isinstance(one, str | torch.device):
            device = torch.device(one)
        elif isinstance(one, torch.dtype):
            dtype = one
    with torch._C.DisableTorchFunctionSubclass():
        of_type = tensor.to(dtype)
    if device.type == tensor.device.type:
        return of_type
    return (
        of_type.cpu_tensor.clone() if isinstance(of_type, FakeCudaTensor) else FakeCudaTensor(of_type.detach().clone())
    )


def _dispatch(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    remote = {id(one.cpu_tensor): one for one in tensors if isinstance(one, FakeCudaTensor)}
    local = [one for one in tensors if not isinstance(one, FakeCudaTensor) and one.ndim > 0]
    if (
        remote
        and local
        and func not in _CROSS_DEVICE_OPS
        and not (func in _INDEX_OPS and isinstance(args[0], FakeCudaTensor))
    ):
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got {DEVICE} and cpu")
    backward = torch._C._current_graph_task_id() != -1  # where torch makes the zeros of gradients that nobody gave
    there = bool(remote) or (backward and not tensors)
    if func is torch.ops.aten.copy_.default:
        there = isinstance(args[0], FakeCudaTensor)
    if (asked := kwargs.get("device")) is not None:
        there |= torch.device(asked).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}

    def inner(one: Any) -> Any:
        return one.cpu_tensor if isinstance(one, FakeCudaTensor) else one

    def outer(one: Any) -> Any:
        if not isinstance(one, Tensor) or not there:
            return one
        same = remote.get(id(one))  # an operation in place gives its own argument
        return FakeCudaTensor(one) if same is None else same

    result = func(*tree_map(inner, args), **tree_map(inner, kwargs))
    return tree_map(outer, result)
