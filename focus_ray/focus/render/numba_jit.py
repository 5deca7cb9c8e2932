"""How numba kernels are compiled and run: cached on disk, without the GIL, one slice of the batch per thread.

Threads are plain Python threads, as many as torch uses: numba's own threading layers either abort the process on
concurrent calls (workqueue) or on a fork after use (GNU OpenMP), and a server or a data loader does both.
"""

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

# IEEE division: x / 0 is not an exception.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code, kept in numba's cache where some folder can be written.

    Arithmetic happens in the order written: the watertightness of the rasterizer and its equality with the torch back
    end rest on it.
    """
    return _compile(function, fastmath=False)


def jit_with_fma(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `jit`, but the function's own products and sums may be fused: one rounding where there were two.

    What it calls keeps the rounding it was compiled with. Not for anything that decides which triangle is seen.
    """
    return _compile(function, fastmath={"contract"})


def _compile(function: Callable[..., Any], fastmath: bool | set[str]) -> Callable[..., Any]:
    # The test run wraps every function to check shapes; numba must see the function itself.
    source = inspect.unwrap(function)
    try:
        return numba.njit(cache=True, fastmath=fastmath, **_OPTIONS)(source)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(fastmath=fastmath, **_OPTIONS)(source)


def as_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor's values as a contiguous array, without a copy where it is contiguous already."""
    return tensor.detach().contiguous().numpy()


def run_parallel(kernel: Callable[..., None], batch: int, *arguments: object) -> None:
    """Run kernel(first, last, *arguments) on slices of the batch, in as many threads as torch uses.

    A kernel must only write to its own images: then the result has the same bits whatever the number of threads.
    """
    slices = max(1, min(torch.get_num_threads(), batch))
    *others, own = pairwise(batch * i // slices for i in range(slices + 1))
    pending = [_thread_pool().submit(kernel, *bounds, *arguments) for bounds in others]
    kernel(*own, *arguments)
    for task in pending:
        task.result()


@cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="focus-ray-render")


# A forked child inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_thread_pool.cache_clear)
