"""Mark of the tests that need PyTorch3D; `make check-pytorch3d` builds it and runs them."""

from importlib.util import find_spec

import pytest

needs_pytorch3d = pytest.mark.skipif(
    find_spec("pytorch3d") is None,
    reason="pytorch3d is not installed; make check-pytorch3d builds it and runs this test",
)
without_pytorch3d = pytest.mark.skipif(find_spec("pytorch3d") is not None, reason="pytorch3d is installed")
