"""Composites that all tests of the calibration use."""

import pytest

from focus_ray.data.composites.composite_folder import CompositeFolder
from tests.evaluation.calibration.composites import write_small_composites


@pytest.fixture(scope="session")
def composites(tmp_path_factory: pytest.TempPathFactory) -> CompositeFolder:
    return write_small_composites(tmp_path_factory.mktemp("calibration"), 8)
