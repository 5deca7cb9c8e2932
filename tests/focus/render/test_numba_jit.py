"""Running kernels over a batch: every image once, errors reach the caller, and a forked child can go on."""

import os
import time

import numpy as np
import pytest
import torch

from focus_ray.focus.render.numba_jit import jit, run_parallel


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
