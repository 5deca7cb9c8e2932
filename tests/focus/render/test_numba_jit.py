"""Running kernels over a batch: every image once, errors reach the caller, and a forked child can go on."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import focus_ray
from focus_ray.focus.render.numba_jit import inner_jit, inner_jit_with_fma, jit, on_compilation, run_parallel


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def count(first, last, visits):
    visits[first:last] += 1


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 8])
def test_every_image_is_visited_once(two_threads, batch):
    visits = np.zeros(batch, dtype=int)
    run_parallel(count, batch, visits)
    assert (visits == 1).all()


def test_an_error_in_any_slice_reaches_the_caller(two_threads):
    def fails_at_first(first, last):
        if first == 0:
            raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        run_parallel(fails_at_first, 4)


def test_division_by_zero_is_infinite_not_an_exception():
    @jit
    def divide(first, last, out):
        out[0] = 1.0 / out[1]

    out = np.zeros(2)
    run_parallel(divide, 1, out)
    assert out[0] == np.inf


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_starts_its_own_threads(two_threads):
    run_parallel(count, 4, np.zeros(4))
    child = os.fork()
    if child == 0:
        visits = np.zeros(4)
        run_parallel(count, 4, visits)
        os._exit(0 if (visits == 1).all() else 1)
    deadline = time.monotonic() + 20
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended, "the child hangs"
    assert os.waitstatus_to_exitcode(status) == 0


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    from numba import njit

    def without_cache(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr("numba.njit", without_cache)
    visits = np.zeros(3)
    jit(count)(0, 2, visits)
    assert visits.tolist() == [1, 1, 0]


def test_inner_functions_are_python_functions_that_kernels_compile_with_their_own_rounding():
    def sum_of_products(a, b, c):
        return a * b + c

    exact, fused = inner_jit(sum_of_products), inner_jit_with_fma(lambda a, b, c: a * b + c)

    @jit
    def exact_and_fused(a, b, c):
        return exact(a, b, c), fused(a, b, c)

    assert exact is sum_of_products
    a, b = 1 + 2.0**-30, 1 - 2.0**-30
    assert exact_and_fused(a, b, -1.0)[0] == sum_of_products(a, b, -1.0) == 0.0
    assert exact_and_fused(a, b, -1.0)[1] in (0.0, -(2.0**-60))  # fused where the processor can


def test_compilation_is_announced_once_and_cached_kernels_are_not():
    calls = []
    kernel = jit(lambda x: x + 1)
    with on_compilation(lambda: calls.append("compiling")):
        kernel(1)
        kernel(1.0)
        kernel(2)
    assert len(calls) <= 1
    with on_compilation(lambda: calls.append("again")):
        kernel(3)
    assert "again" not in calls


RENDER = """
import torch
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.camera import Camera
from focus_ray.focus.render import Renderer, interpolate, numba_jit, rasterize

calls = []
with numba_jit.on_compilation(lambda: calls.append(1)):
    face = parametric_face("small", 80, 64, 80)
    theta = torch.zeros(1, 257, requires_grad=True)
    Renderer(face, Camera(image_size=16))(theta).image.sum().backward()
    vertices = face.mean[None].double()
    interpolate(vertices, vertices, face.faces, rasterize(vertices, face.faces, 16, 16))
print(numba_jit.__file__, len(calls))
"""


def render(environment: dict[str, str]) -> list[str]:
    """Render in a process of its own; the file of the package, and whether it compiled anything."""
    ended = subprocess.run([sys.executable, "-c", RENDER], env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.split()


@pytest.mark.slow
def test_a_process_compiles_nothing_that_another_one_compiled(python_environment):
    """Kernels that `make install` compiled; in a checkout without them, those of a first process."""
    _, count = render(python_environment)
    assert count == "0" or render(python_environment)[1] == "0"


@pytest.mark.drill
def test_a_second_process_compiles_nothing(tmp_path):
    """In a copy of the package, as a wheel leaves it: without byte code and without machine code."""
    package = tmp_path / "focus_ray"
    shutil.copytree(
        Path(focus_ray.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "pretrained*", "vendor")
    )
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    lines = [render(environment) for _ in range(2)]
    assert lines == [[str(package / "focus" / "render" / "numba_jit.py"), count] for count in ("1", "0")]
