"""Compilation and execution of numba kernels: cached on disk, without the GIL, one slice of the batch per thread.

Threads are plain Python threads, as many as torch uses: numba's own threading layers abort the process either on
concurrent calls (workqueue) or on a fork after use (GNU OpenMP), and servers and data loaders do both.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numba.core import event
from numba.extending import register_jitable
from torch import Tensor

# IEEE division: x / 0 is not an exception. No entry point for callers in C: it would be compiled too.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_FUSED = {"contract"}


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function to machine code, with numba's cache if a folder for it can be written.

    Arithmetic happens in the order written: the watertightness of the rasterizer and its equality with the torch back
    end depend on it.
    """
    return _compile(function)


def jit_with_fma(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile like `jit`, but products and sums may be fused: one rounding instead of two.

    This holds for the function's own operations; the functions that it calls keep the rounding they were compiled with.
    Do not use it for code that decides which triangle is seen.
    """
    return _compile(function, fastmath=_FUSED)


def inner_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let kernels call a function, which they compile like `jit`; from Python it stays a Python function.

    It has no entry point for Python and no place in the cache, which holds its callers: they compile sooner.
    """
    return register_jitable(**_OPTIONS)(inspect.unwrap(function))


def inner_jit_with_fma(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let kernels call a function like `inner_jit`; they compile it like `jit_with_fma`."""
    return register_jitable(fastmath=_FUSED, **_OPTIONS)(inspect.unwrap(function))


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # The test run wraps every function to check shapes; numba needs the unwrapped function.
    source = inspect.unwrap(function)
    try:
        return numba.njit(cache=True, **options, **_OPTIONS)(source)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**options, **_OPTIONS)(source)


class _CompilationListener(event.Listener):
    """Calls a function when the first kernel is about to be compiled."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def on_start(self, event: event.Event) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            call()

    def on_end(self, event: event.Event) -> None:
        pass


@contextmanager
def on_compilation(call: Callable[[], object]) -> Iterator[None]:
    """Call a function once if a kernel is compiled inside the block, before that; not for kernels from the cache.

    Args:
        call: takes no arguments; runs in the thread that compiles.
    """
    listener = _CompilationListener(call)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


def as_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as a contiguous array.

    Args:
        tensor: on the CPU.

    Returns:
        The values, detached; a view if the tensor is contiguous, else a copy.
    """
    return tensor.detach().contiguous().numpy()


def run_parallel(kernel: Callable[..., None], batch: int, *arguments: object) -> None:
    """Run kernel(first, last, *arguments) on slices of the batch, in as many threads as torch uses.

    Args:
        kernel: must only write to images first..last - 1: then the result has the same bits for any number of threads.
        batch: number of images.
        *arguments: passed to the kernel.
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
