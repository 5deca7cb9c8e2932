"""The weights of the mesh detector, which `make install` downloads."""

import numpy as np
import pytest
import skimage.data

from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.data.detectors.weight_files import has_mesh_files


@pytest.fixture(scope="session")
def mesh_spec() -> DetectorSpec:
    if not has_mesh_files():
        pytest.skip("the weights of the mesh detector are not installed; run infra/fetch_detectors.py")
    return resolve_detector("mesh")


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain photograph (NASA) of 512 x 512 px; the middle of the face is at (226, 131)."""
    return skimage.data.astronaut()
